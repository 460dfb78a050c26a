//! Helps to connect to servers: reads certificates and keys, and checks whether a host's name resolves. `kafka` and
//! `database` use this module.

pub mod pem;
pub(crate) mod resolve;
