//! Integration tests over real sockets.
#![cfg(test)]

mod answers;
mod certificates;
mod cli;
mod client;
mod config;
mod container;
mod encoder;
mod gateway;
mod hub;
mod link;
mod logs;
mod operator;
mod postgres;
mod redis;
mod router;
mod schema;
mod shares;
mod soak;
mod stand;
mod upstream;
