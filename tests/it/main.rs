//! Integration tests over real sockets.
#![cfg(test)]

mod cli;
mod config;
