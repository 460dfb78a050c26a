//! What connections to any server need: certificate authorities, and whether a host's name resolves. Used by `kafka` and
//! `database`.

pub mod pem;
pub(crate) mod resolve;
