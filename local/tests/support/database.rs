//! A fresh database for each test.

pub use shared::testing::TestDatabase;
