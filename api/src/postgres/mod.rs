//! The history for clients of `PostgreSQL`: the frontend/backend protocol, version 3, over the same queries,
//! accounts and limits as those of HTTP.
//!
//! This process speaks the protocol, and answers commands such as `BEGIN`. Query processes parse statements.
//!
//! Source: `PostgreSQL` documentation, "Frontend/Backend Protocol".

mod commands;
mod connection;
mod error;
mod extended;
mod hangup;
mod messages;
mod negotiation;
mod parameters;
mod portals;
mod rows;
mod session;
mod simple;
mod startup;

pub(crate) use crate::postgres::connection::Postgres;
