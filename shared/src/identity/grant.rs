//! What a service key may do.

use crate::contract::Contract;

/// The streams that a service key may post to. If a stream's contract has roles, the role of the key's user must allow
/// posting to the stream, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    streams: Vec<String>,
    is_by_admin: bool,
}

impl Grant {
    /// The entry that stands for all streams whose contracts have roles.
    pub const ALL: &'static str = "*";

    /// Creates a grant for these streams. One of them may be [`Grant::ALL`]. A stream whose contract has no roles is
    /// included only if an admin created the key.
    pub fn new(streams: Vec<String>, is_by_admin: bool) -> Self {
        Self { streams, is_by_admin }
    }

    /// Returns the streams. One of them may be [`Grant::ALL`].
    pub fn streams(&self) -> &[String] {
        &self.streams
    }

    /// Returns whether an admin created the key.
    pub(super) fn is_by_admin(&self) -> bool {
        self.is_by_admin
    }

    /// Returns whether the grant includes a contract's stream. No grant includes `login`, because only Sluice
    /// itself posts to that stream.
    pub(super) fn includes(&self, contract: &Contract) -> bool {
        let lists = |name: &str| self.streams.iter().any(|stream| stream == name);
        match contract.roles.as_slice() {
            _ if contract.stream == Contract::LOGIN => false,
            [] => self.is_by_admin && lists(&contract.stream),
            [_, ..] => lists(&contract.stream) || lists(Self::ALL),
        }
    }
}
