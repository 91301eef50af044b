//! Files and folders that nobody but their owner reads: what a meter counts is its customers' business.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;

/// Makes a folder and those above it, or takes one that is there; in either case it is private afterwards.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(FOLDER))
}

/// Makes a file, or empties one that is there.
pub(crate) fn file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_and_what_was_there_is_private_afterwards() {
        let root = crate::config::target().join("private-tests");
        let (of_before, made) = (root.join("before"), root.join("made/below"));
        fs::create_dir_all(&of_before).unwrap();
        fs::write(of_before.join("log"), "old").unwrap();
        let paths = [of_before.join("log"), made.join("log")];
        for (of, log) in [(&of_before, &paths[0]), (&made, &paths[1])] {
            folder(of).unwrap();
            file(log).unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(of), mode(log), fs::read(log).unwrap()), (FOLDER, FILE, Vec::new()));
        }
        fs::remove_dir_all(root).unwrap();
    }
}
