//! Learned routing among any number of language models.
//!
//! A [`Router`] gives every candidate model a *skill* for a prompt: a Bradley–Terry logit, so that the
//! logistic function of the difference of two skills estimates how often one model's answer beats the
//! other's. [`select`] turns skills and prices into a choice.
//!
//! Synchronous and CPU only. This crate must not know of HTTP, of tenants, of the network or of the wall
//! clock; it reads only the files and bytes it is handed.

pub mod artifact;
pub mod baseline;
pub mod benchmark;
pub mod bert;
pub mod blend;
pub mod bradley_terry;
pub mod calibration;
pub mod causal;
pub mod data;
pub mod decoder;
pub mod distill;
pub mod embed;
pub mod encoder;
pub mod evaluate;
pub mod features;
#[cfg(feature = "finetune")]
pub mod finetune;
pub mod gguf;
pub mod identity;
pub mod index;
pub mod json;
pub mod leaderboard;
pub mod learned;
pub mod local;
pub mod mf;
pub mod ratings;
pub mod reading;
pub mod regions;
pub mod router;
pub mod select;
pub mod shipped;
pub mod split;
pub mod train;
pub mod wordpiece;

mod csv_lines;
mod half;
mod mixture;
mod product;
mod rating_line;
mod roster;
mod tokenizer_file;
mod topics;
mod vectors;

pub use router::{
    CalibrationSkills, Candidate, CostClass, KnownBattle, Needs, QueryBatch, Router, RouterError,
    SkillMatrix, Standing,
};
