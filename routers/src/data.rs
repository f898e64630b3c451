//! Training and evaluation data: streaming readers of every format into one internal form.
//!
//! [`read_file`] streams the rows of a file to a visitor in bounded memory; [`DatasetBuilder`] gathers rows into a
//! [`Dataset`], whose order depends on the rows' content alone, so that shuffled rows or files, or a battle written
//! the other way round, train the same router. Model names are canonical from here on (see [`crate::identity`]).
//!
//! Must not know of routers, embeddings or ratings.

mod arena_csv;
mod arena_parquet;
mod arena_rows;
mod battle_rows;
mod builder;
mod clean_battle;
mod dataset;
mod error;
mod format;
mod json_lines;
mod metered;
mod open;
mod outcome_rows;
mod read;
mod reading;
mod report;
mod row;
mod text;
mod verdicts;
mod vote_counts;

pub use builder::DatasetBuilder;
pub use dataset::{Battle, Dataset, OrderCounts, Outcomes, PairVotes, Prompt, Score};
pub use error::DataError;
pub use format::Format;
pub use read::{ReadOptions, Visit, read, read_file};
pub use report::{FilterCounts, LoadReport, Rejection, RowProblem};
pub use row::{BattleRow, OutcomeRow, Row, Run, Verdict, VoteRow};
pub use verdicts::{PresentationOrders, Singles};
