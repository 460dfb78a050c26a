//! An error in a contract.

use super::pointer;

/// An error in a contract, and its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) pointer: String,
    pub(super) reason: String,
}

impl Wrong {
    /// Creates an error about a member of the `x-sluice` block. `member` is the member's path in the block, separated
    /// by slashes.
    pub(super) fn at(member: &str, reason: impl Into<String>) -> Self {
        let tokens = ["x-sluice"].into_iter().chain(member.split('/').filter(|token| !token.is_empty()));
        Self { pointer: pointer::join(tokens), reason: reason.into() }
    }
}
