//! Tests the real binary of `migrate` in an emulation of Lambda, with recorded requests of CloudFormation, and with a
//! real PostgreSQL and Apache Kafka.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic if its setup fails")]

#[path = "../connections/authority.rs"]
mod authority;
#[path = "../connections/aws.rs"]
#[allow(dead_code, reason = "this program uses only a part of the module")]
mod aws;
mod deployments;
mod encrypted;
mod failures;
#[path = "../lambda/function.rs"]
#[allow(dead_code, reason = "this program uses only a part of the module")]
mod function;
mod iam;
mod stack;
#[path = "../support/mod.rs"]
mod support;
