//! What connections to any server need: certificates and keys, and whether a host's name resolves. `kafka` and
//! `database` use this module.

pub mod pem;
pub(crate) mod resolve;
