//! The routers that every learned one must beat: chance, and the best model for everything.

mod best_single;
mod random;
#[cfg(test)]
mod tests;

pub use best_single::BestSingle;
pub use random::RandomRouter;
