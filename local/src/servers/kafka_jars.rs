//! Fetches Apache Kafka's jars, in the versions that `local/kafka/pom.xml` pins.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::ServerError;
use super::process::output;

const POM: &str = include_str!("../../kafka/pom.xml");

/// Returns the folder with the jars. If the folder is missing, or the pom has changed, Maven copies the jars there
/// first.
///
/// # Errors
/// Maven is missing, or does not find a jar.
pub async fn folder() -> Result<PathBuf, ServerError> {
    let parent = target_folder();
    let folder = parent.join("kafka");
    let is_complete = || fs::read_to_string(folder.join("pom.xml")).is_ok_and(|pom| pom == POM);
    if is_complete() {
        return Ok(folder);
    }
    // Creates the folder under another name and then moves it into place, so that an interrupted download leaves
    // nothing half done.
    fs::create_dir_all(&parent).map_err(ServerError::Jars)?;
    let fresh = tempfile::Builder::new().prefix("kafka-").tempdir_in(&parent).map_err(ServerError::Jars)?;
    fs::write(fresh.path().join("pom.xml"), POM).map_err(ServerError::Jars)?;
    copy_dependencies(fresh.path()).await?;
    // A concurrent start may have been quicker. Its server may already be using the jars in `folder`, so these jars
    // must not be replaced.
    if is_complete() {
        return Ok(folder);
    }
    remove_if_there(&folder).map_err(ServerError::Jars)?;
    match fs::rename(fresh.path(), &folder) {
        Ok(()) => {
            let _moved = fresh.keep();
            Ok(folder)
        }
        Err(_) if is_complete() => Ok(folder),
        Err(source) => Err(ServerError::Jars(source)),
    }
}

async fn copy_dependencies(folder: &Path) -> Result<(), ServerError> {
    let mut command = Command::new("mvn");
    command
        .args(["-q", "-B", "-f"])
        .arg(folder.join("pom.xml"))
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", folder.display()));
    let output = output(command).await.map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            ServerError::NotInstalled { what: "mvn (Maven)" }
        } else {
            ServerError::Jars(source)
        }
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().find(|line| line.contains("ERROR")).unwrap_or("no output");
    Err(ServerError::Maven(first.to_owned()))
}

/// Returns cargo's target folder.
pub(super) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
