//! Which domains the training prompts fall into, and a gate that tells any prompt's: multinomial logistic regression on
//! what prompts are read as.

use std::collections::BTreeMap;

use faer::{Mat, MatRef};

use super::lbfgs::{Stop, minimise};
use crate::data::{Dataset, Prompt};
use crate::reading::{Reading, ReadingWeights};
use crate::vectors::product;

/// A source is divided into its categories if those have this many training prompts on average.
const CATEGORY_PROMPTS_MIN: usize = 100;
/// How much more an open prompt weighs than one of an exam: exams are what there is most data of, open prompts what
/// people ask, nine times of ten.
const OPEN_WEIGHT: f64 = 100.0;
/// Strength of the penalty on the gate's coefficients.
const RIDGE: f64 = 1.0 / 30.0;
const STOP: Stop = Stop { steps_max: 200, gain_min: 1e-5 };

/// The domains of prompts.
#[derive(Debug)]
pub(super) struct Domains {
    /// The domain of each prompt, whether it is trained on or not.
    pub(super) of_prompt: Vec<usize>,
    /// How many there are.
    pub(super) count: usize,
    /// The one of open prompts, if there are any.
    open: Option<usize>,
}

impl Domains {
    /// Prompts without a category are open, of whatever source, and make one domain. Of a source with categories each is
    /// a domain; if they are too small, the source is one.
    pub(super) fn of(data: &Dataset, is_train: &dyn Fn(&Prompt) -> bool) -> Self {
        let mut sizes: BTreeMap<(u16, &str), usize> = BTreeMap::new();
        for prompt in data.prompts.iter().filter(|prompt| is_train(prompt)) {
            if let Some(category) = &prompt.category {
                *sizes.entry((prompt.source, category)).or_default() += 1;
            }
        }
        let is_divided = |source: u16| {
            let of_source = || sizes.range((source, "")..).take_while(move |((of, _), _)| *of == source);
            of_source().map(|(_, size)| size).sum::<usize>()
                >= CATEGORY_PROMPTS_MIN * of_source().count().max(1)
        };
        let divided: Vec<bool> = (0..data.sources.len()).map(|source| is_divided(source as u16)).collect();
        // A category that no training prompt has is no domain: what is left of its source is.
        let key = |prompt: &Prompt| -> Option<(u16, Option<String>)> {
            let category = prompt.category.as_ref()?;
            let is_known = sizes.contains_key(&(prompt.source, category.as_str()));
            let divided = divided.get(usize::from(prompt.source)).copied().unwrap_or_default();
            Some((prompt.source, (divided && is_known).then(|| category.clone())))
        };
        let trained = data.prompts.iter().filter(|prompt| is_train(prompt)).map(key);
        let numbers: BTreeMap<_, usize> =
            trained.map(|key| (key, 0)).collect::<BTreeMap<_, _>>().into_keys().zip(0..).collect();
        let number = |prompt: &Prompt| numbers.get(&key(prompt)).copied().unwrap_or_default();
        Self {
            of_prompt: data.prompts.iter().map(number).collect(),
            count: numbers.len().max(1),
            open: numbers.get(&None).copied(),
        }
    }
}

/// G of the gate, inputs × domains, fitted to the prompts that `chosen` names; `inputs` holds a row for each prompt, the
/// constant 1 at its end.
pub(super) fn fit(inputs: &Mat<f64>, chosen: &[usize], domains: &Domains) -> Mat<f32> {
    let (width, count) = (inputs.ncols(), domains.count);
    if count == 1 {
        return Mat::zeros(width, 1);
    }
    let rows = Mat::from_fn(chosen.len(), width, |row, column| inputs[(chosen[row], column)]);
    let of: Vec<usize> = chosen.iter().map(|&prompt| domains.of_prompt[prompt]).collect();
    let weight = |domain: usize| if Some(domain) == domains.open { OPEN_WEIGHT } else { 1.0 };
    let mut at = vec![0.0; width * count];
    minimise(&mut at, STOP, |at, slope| {
        let gate = MatRef::from_column_major_slice(at, width, count);
        let mut pulls = product(rows.as_ref(), gate);
        let mut value = 0.0;
        for (row, &domain) in of.iter().enumerate() {
            value += weight(domain) * to_pulls(&mut pulls, row, domain, weight(domain));
        }
        let gradient = product(rows.transpose(), pulls.as_ref());
        for (place, (slope, at)) in slope.iter_mut().zip(at).enumerate() {
            // The constant is free.
            let ridge = if place % width + 1 == width { 0.0 } else { RIDGE };
            *slope = gradient[(place % width, place / width)] + ridge * at;
            value += 0.5 * ridge * at * at;
        }
        value
    });
    Mat::from_fn(width, count, |row, column| at[column * width + row] as f32)
}

/// How much the prompts of each domain (rows), of those that `chosen` names, belong to each domain on average.
pub(super) fn nearness(
    reading: &ReadingWeights,
    inputs: &Mat<f64>,
    chosen: &[usize],
    domains: &Domains,
) -> Mat<f32> {
    let reading = Reading::new(reading);
    let places: Vec<u32> = (0..inputs.ncols() as u32).collect();
    let mut sums = Mat::<f64>::zeros(domains.count, domains.count);
    let mut counts = vec![0.0; domains.count];
    for &prompt in chosen {
        let domain = domains.of_prompt[prompt];
        let inputs: Vec<f32> = inputs.row(prompt).iter().map(|&input| input as f32).collect();
        for (other, membership) in reading.memberships(&inputs, &places).into_iter().enumerate() {
            sums[(domain, other)] += f64::from(membership);
        }
        counts[domain] += 1.0;
    }
    Mat::from_fn(domains.count, domains.count, |domain, other| {
        (sums[(domain, other)] / f64::max(counts[domain], 1.0)) as f32
    })
}

/// Turns a row of logits into the gradient of the weighted loss by them, and returns the loss, −log softmax.
fn to_pulls(logits: &mut Mat<f64>, row: usize, domain: usize, weight: f64) -> f64 {
    let count = logits.ncols();
    let own = logits[(row, domain)];
    let largest = (0..count).map(|column| logits[(row, column)]).fold(f64::NEG_INFINITY, f64::max);
    let all: f64 = (0..count).map(|column| (logits[(row, column)] - largest).exp()).sum();
    for column in 0..count {
        let share = (logits[(row, column)] - largest).exp() / all;
        logits[(row, column)] = weight * (share - f64::from(u8::from(column == domain)));
    }
    all.ln() + largest - own
}
