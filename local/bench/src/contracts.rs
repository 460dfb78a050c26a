//! The contracts that benchmarks run with.

use std::io;
use std::path::Path;

/// Copies the built-in contracts into a folder. Creates the folder if it is missing.
pub(crate) fn copy_built_in(folder: &Path) -> io::Result<()> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/contracts");
    std::fs::create_dir_all(folder)?;
    for file in std::fs::read_dir(built_in)? {
        let path = file?.path();
        if let Some(name) = path.file_name() {
            std::fs::copy(&path, folder.join(name))?;
        }
    }
    Ok(())
}
