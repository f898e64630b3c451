//! What the trained map reads of each prompt: its embedding, and beside it its membership in topics.

use faer::Mat;

use super::examples::Examples;
use crate::topics::{SHARPNESS, Topics, centres};

/// The inputs of all prompts and how they came about.
pub(super) struct Inputs {
    /// Prompts × (dimensions + topics).
    pub(super) values: Mat<f32>,
    /// Dimensions × topics: the centres, times the sharpness.
    pub(super) topics: Mat<f32>,
}

impl Inputs {
    /// Finds topics among the embeddings of the training prompts alone; every prompt gets its memberships.
    pub(super) fn new(embeddings: &Mat<f32>, train: &Examples, topics: usize) -> Self {
        let mut chosen: Vec<usize> =
            (0..train.len()).map(|example| train.of(example)[0].prompt as usize).collect();
        // An empty prompt lies nowhere.
        chosen.retain(|&prompt| embeddings.row(prompt).iter().any(|&value| value != 0.0));
        let mut topics = centres(&embeddings.transpose().to_owned(), &chosen, topics);
        topics *= faer::Scale(SHARPNESS);
        let (dimensions, memberships) = (embeddings.ncols(), Topics::new(&topics));
        let mut values = Mat::zeros(embeddings.nrows(), dimensions + memberships.count());
        let mut of_prompt = vec![0.0; memberships.count()];
        for prompt in 0..embeddings.nrows() {
            let embedding: Vec<f32> = embeddings.row(prompt).iter().copied().collect();
            memberships.memberships(&embedding, &mut of_prompt);
            let inputs = embedding.iter().chain(&of_prompt);
            inputs.enumerate().for_each(|(column, &value)| values[(prompt, column)] = value);
        }
        Self { values, topics }
    }
}
