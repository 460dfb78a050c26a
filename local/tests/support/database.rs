//! Creates a fresh database for each test.

pub use testing::TestDatabase;
