# shellcheck shell=bash
# Installs missing prerequisites, except the Rust toolchain, and prints what it installs. `up`, `test`, `lambda` and the
# benchmarks source this file.

has() { command -v "$1" >/dev/null 2>&1; }

complain() {
  echo "error: $*" >&2
  exit 1
}

# Prints the folder with the programs of the newest PostgreSQL, or an empty line if PostgreSQL is not installed. The
# `local` crate looks in the same places.
postgresql_programs() {
  local folder newest=''
  while IFS= read -r folder; do
    if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then newest=$folder; fi
  done < <(
    for folder in /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
      echo "$folder"
    done | sort -V
  )
  if [ -z "$newest" ] && has initdb && has postgres; then newest=$(dirname "$(command -v initdb)"); fi
  echo "$newest"
}

# Apache Kafka 4 needs Java 17.
has_java() {
  local java=java version
  if [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ]; then java=$JAVA_HOME/bin/java; fi
  # macOS has a stub `java` that only reports that Java is not installed.
  version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
  [ "${version:-0}" -ge 17 ]
}

need_rust() {
  has cargo || complain "cargo is not installed: get the Rust toolchain from https://rustup.rs"
}

# Sets the target folder of cargo. The path is absolute, because cargo and other programs run in different folders.
set_target() {
  target=${CARGO_TARGET_DIR:-$root/target}
  case $target in /*) ;; *) target=$PWD/$target ;; esac
  export CARGO_TARGET_DIR=$target
  tools=$target/tools
}

# Installs a program from PyPI into the tools folder. Usage: python_install PROGRAM PACKAGE==VERSION
python_install() {
  local program=$1 package=$2
  local installed=$tools/python/installed-$package
  if [ -e "$installed" ]; then return; fi
  if [ ! -x "$tools/python/bin/pip" ]; then
    install_python
    python3 -m venv "$tools/python"
  fi
  echo "installing with pip into $tools/python: $program"
  "$tools/python/bin/pip" install --quiet --disable-pip-version-check "$package"
  touch "$installed"
}

# Installs `cargo lambda` in a folder on PATH.
install_cargo_lambda() {
  if ! has cargo-lambda; then python_install cargo-lambda cargo-lambda==1.9.2; fi
  PATH=$PATH:$tools/python/bin
}

# Installs `cargo lambda` and the other prerequisites of `cargo lambda build`: compilers, zig and CMake. zig (a module
# of `python3`) compiles for both of Lambda's architectures, and CMake builds librdkafka.
install_for_lambda_build() {
  install_compilers
  install_cargo_lambda
  if ! has zig; then
    python_install zig ziglang==0.17.1
    PATH=$tools/python/bin:$PATH
  fi
  has cmake || python_install cmake cmake==4.4.4
}

# --- Debian, Ubuntu --------------------------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif has sudo; then
    sudo "$@"
  else
    complain "this needs root, and sudo is not installed: $*"
  fi
}

apt_updated=''
apt_update() {
  if [ -z "$apt_updated" ]; then
    as_root apt-get update -qq </dev/null
    apt_updated=yes
  fi
}

# Usage: apt_install PACKAGE…
apt_install() {
  echo "installing with apt-get: $*"
  apt_update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@" </dev/null >/dev/null
}

# Prints the first of these packages that this release of Debian or Ubuntu offers.
apt_first_of() {
  local package
  for package in "$@"; do
    case $(apt-cache policy "$package") in
      *'Candidate: '[0-9]*)
        echo "$package"
        return
        ;;
    esac
  done
  complain "apt-get offers none of these packages: $*"
}

# Installs PostgreSQL. Normally, Debian's package creates and starts a cluster; this function prevents that, because
# Sluice uses a cluster of its own. Afterwards, the function restores the package's setting.
apt_install_postgresql() {
  local setting=/etc/postgresql-common/createcluster.conf
  if [ -e "$setting" ]; then
    apt_install "$@"
    return
  fi
  as_root mkdir -p "$(dirname "$setting")"
  echo 'create_main_cluster = false' | as_root tee "$setting" >/dev/null
  apt_install "$@"
  local dist
  for dist in "$setting.ucf-dist" "$setting.dpkg-dist"; do
    if [ -e "$dist" ]; then as_root mv "$dist" "$setting"; fi
  done
}

apt_compilers() {
  local packages=()
  { has cc && has c++ && has make; } || packages+=(build-essential)
  has pkg-config || packages+=(pkg-config)
  [ -e /usr/include/zlib.h ] || packages+=(zlib1g-dev)
  [ -e /usr/include/openssl/ssl.h ] || packages+=(libssl-dev)
  if [ "${#packages[@]}" -gt 0 ]; then apt_install "${packages[@]}"; fi
}

apt_servers() {
  local java packages=()
  has curl || packages+=(curl)
  if ! has_java; then
    apt_update
    java=$(apt_first_of openjdk-17-jre-headless openjdk-21-jre-headless default-jre-headless)
    packages+=("$java")
  fi
  has mvn || packages+=(maven)
  if [ "${#packages[@]}" -gt 0 ]; then apt_install "${packages[@]}"; fi
  if [ -z "$(postgresql_programs)" ]; then apt_install_postgresql postgresql; fi
}

apt_checks() {
  local programs version packages=()
  programs=$(postgresql_programs)
  version=$(basename "$(dirname "$programs")")
  [ -e "$(dirname "$programs")/lib/wal2json.so" ] || packages+=("postgresql-$version-wal2json")
  has docker-compose || packages+=(docker-compose)
  if [ "${#packages[@]}" -gt 0 ]; then apt_install "${packages[@]}"; fi
}

# Ubuntu offers Chromium only as a snap, so it has no package chromium-driver.
apt_browser() {
  apt_update
  case $(apt-cache policy chromium-driver) in
    *'Candidate: '[0-9]*) apt_install chromium chromium-driver fonts-dejavu-core ;;
  esac
}

# --- macOS -----------------------------------------------------------------------------------------------------------

brew_install() {
  echo "installing with brew: $*"
  brew install --quiet "$@" </dev/null
}

brew_compilers() {
  local packages=()
  xcode-select -p >/dev/null 2>&1 || complain "the compiler is not installed: run xcode-select --install"
  has pkg-config || packages+=(pkgconf)
  [ -d "$(brew --prefix openssl@3 2>/dev/null)/include" ] || packages+=(openssl@3)
  if [ "${#packages[@]}" -gt 0 ]; then brew_install "${packages[@]}"; fi
}

brew_servers() {
  local packages=()
  [ -n "$(postgresql_programs)" ] || packages+=(postgresql@17)
  has mvn || packages+=(maven)
  has_java || packages+=(openjdk)
  if [ "${#packages[@]}" -gt 0 ]; then brew_install "${packages[@]}"; fi
  # Homebrew's Java is not on PATH.
  if ! has_java; then
    JAVA_HOME=$(brew --prefix openjdk)/libexec/openjdk.jdk/Contents/Home
    export JAVA_HOME
  fi
}

brew_checks() {
  has docker-compose || brew_install docker-compose
}

# --- both ------------------------------------------------------------------------------------------------------------

# Installs the prerequisites of the build.
install_compilers() {
  need_rust
  if has apt-get; then
    apt_compilers
  elif has brew; then
    brew_compilers
  fi
}

# Installs the prerequisites of the build and of the servers.
install_for_servers() {
  install_compilers
  if has apt-get; then
    apt_servers
  elif has brew; then
    brew_servers
  else
    has_java || complain "Java 17 or newer is not installed"
    has mvn || complain "mvn (Maven) is not installed"
    [ -n "$(postgresql_programs)" ] || complain "PostgreSQL (initdb and postgres) is not installed"
  fi
}

# Installs the prerequisites of `python_install`.
install_python() {
  if python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then return; fi
  if has apt-get; then
    apt_install python3 python3-venv
  elif has brew; then
    brew_install python
  else
    complain "python3 is not installed, or lacks its module venv"
  fi
}

# Builds AWS's Runtime Interface Emulator in the tools folder. Without it, the tests that need it are skipped.
# <https://github.com/aws/aws-lambda-runtime-interface-emulator>
lambda_emulator_version=v0.0.0-20261030222936-bef5c4ba774d
install_lambda_emulator() {
  local installed=$tools/bin/aws-lambda-rie-$lambda_emulator_version
  if [ -e "$installed" ]; then return; fi
  if ! has go; then
    echo "aws-lambda-rie: skipped, because Go is not installed"
    return
  fi
  echo "installing with go into $tools: aws-lambda-rie"
  if GOBIN=$tools/bin go install \
    "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie@$lambda_emulator_version" 2>/dev/null; then
    touch "$installed"
  else
    echo "aws-lambda-rie: skipped, because Go could not build it"
  fi
}

# Installs the additional prerequisites of the checks.
install_for_checks() {
  install_lambda_emulator
  if has apt-get; then
    apt_checks
  elif has brew; then
    brew_checks
  fi
}

# Installs Chromium and ChromeDriver. If that is not possible, switches off the console's browser tests, and says so.
install_for_browser_tests() {
  if ! has chromedriver && has apt-get; then apt_browser; fi
  if ! has chromedriver; then
    echo "browser tests: skipped, because there is no chromedriver; install Chrome and chromedriver to run them"
    export SLUICE_WITHOUT_BROWSER=1
  fi
}

# Installs the load generator of the benchmarks.
install_for_benchmarks() {
  if has wrk; then return; fi
  if has apt-get; then
    apt_install wrk
  elif has brew; then
    brew_install wrk
  else
    complain "wrk is not installed"
  fi
}
