//! Writes messages for the person at the terminal, line by line, to standard output. Logs go to standard error.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line.
pub fn say(line: impl Display) {
    // Fails if the reader is gone, as after `| head`; there is nowhere to report that.
    let _unheard = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line about a problem to standard error.
pub fn complain(line: impl Display) {
    let _unheard = writeln!(std::io::stderr().lock(), "{line}");
}
