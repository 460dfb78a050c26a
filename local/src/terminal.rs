//! What is said to whoever typed the command: standard output, line by line. Logs go to standard error.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line.
pub fn say(line: impl Display) {
    // Nobody listens any more, as after `| head`: then there is nobody to tell.
    let _unheard = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line about what went wrong, to standard error.
pub fn complain(line: impl Display) {
    let _unheard = writeln!(std::io::stderr().lock(), "{line}");
}
