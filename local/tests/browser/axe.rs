//! Fetches axe-core (<https://github.com/dequelabs/axe-core>), which finds accessibility problems in a page. Deque's
//! Maven package contains axe-core as one script.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::sync::OnceCell;

const PACKAGE: &str = "com.deque.html.axe-core:selenium:4.11.1";
const SHA256: &str = "7dbfabdfc6062936d79c873ddbb5f811a1219fca3928bd8cc9dd81f1e65f4720";
const UNPACK: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack";

/// Returns the script. Maven unpacks it into `target/tools` if that folder does not have it.
pub(super) async fn script() -> &'static str {
    static SCRIPT: OnceCell<String> = OnceCell::const_new();
    SCRIPT.get_or_init(fetch).await
}

/// Returns cargo's target folder.
pub(super) fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

async fn fetch() -> String {
    let file = target().join("tools").join(format!("axe-{SHA256}.js"));
    if let Some(script) = intact(&file) {
        return script;
    }
    // The script is unpacked elsewhere and then moved into place, so that no other process reads half of it.
    let parent = file.parent().unwrap();
    std::fs::create_dir_all(parent).unwrap();
    let scratch = tempfile::tempdir_in(parent).unwrap();
    let output = Command::new("mvn")
        .args(["-q", "-B", UNPACK, "-Dmdep.unpack.includes=axe.min.js"])
        .arg(format!("-Dartifact={PACKAGE}"))
        .arg(format!("-DoutputDirectory={}", scratch.path().display()))
        // Without a pom, the plugin leaves a file in its working directory.
        .current_dir(scratch.path())
        .output()
        .await
        .expect("mvn (Maven) is not installed: ./local/test installs it");
    let unpacked = scratch.path().join("axe.min.js");
    let said = String::from_utf8_lossy(&output.stdout);
    let script = intact(&unpacked).unwrap_or_else(|| panic!("{PACKAGE} lacks the pinned script: {said}"));
    std::fs::rename(unpacked, file).unwrap();
    script
}

/// Returns the file's text if the text has the pinned hash.
fn intact(file: &Path) -> Option<String> {
    let script = std::fs::read_to_string(file).ok()?;
    (hex(&Sha256::digest(script.as_bytes())) == SHA256).then_some(script)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
