//! Integration tests over real sockets.
#![cfg(test)]
