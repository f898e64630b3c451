//! The tensors of a `bert` router, beside those of how prompts are read:
//!
//! | tensor          | type, shape           | holds                                       |
//! |-----------------|-----------------------|---------------------------------------------|
//! | `column_heads`  | U32, columns          | the head that each column belongs to        |
//! | `column_models` | U32, columns          | the model whose shift it gives              |
//! | `columns`       | F32, columns × inputs | u of each, the constant c at its end        |
//! | `head_domains`  | U32, heads            | the domain of each head                     |
//! | `nearness`      | F32, domains²         | how near a domain (row) is to each          |

use faer::Mat;

use super::{ArtifactProblem, BertWeights, OwnedTensor, Tensors, reading};
use crate::artifact::check::refuse;
use crate::bert::Head;

pub(super) fn tensors(weights: &BertWeights) -> Vec<OwnedTensor> {
    let heads = &weights.heads;
    let places: Vec<(usize, usize)> = heads
        .iter()
        .enumerate()
        .flat_map(|(head, of)| (0..of.models.len()).map(move |column| (head, column)))
        .collect();
    let columns = Mat::from_fn(places.len(), weights.reading.inputs(), |row, input| {
        let (head, column) = places[row];
        heads[head].columns[(input, column)]
    });
    let column_heads: Vec<u32> = places.iter().map(|(head, _)| *head as u32).collect();
    let column_models: Vec<u32> = heads.iter().flat_map(|head| head.models.iter().copied()).collect();
    let head_domains: Vec<u32> = heads.iter().map(|head| head.domain).collect();
    let mut tensors = reading::tensors(&weights.reading);
    tensors.push(OwnedTensor::u32("column_heads", &column_heads));
    tensors.push(OwnedTensor::u32("column_models", &column_models));
    tensors.push(OwnedTensor::matrix("columns", &columns));
    tensors.push(OwnedTensor::u32("head_domains", &head_domains));
    tensors.push(OwnedTensor::matrix("nearness", &weights.nearness));
    tensors
}

pub(super) fn read(models: usize, dim: usize, tensors: &Tensors<'_>) -> Result<BertWeights, ArtifactProblem> {
    let reading = reading::read(dim, tensors)?;
    let count = tensors.rows("columns")?;
    let columns = tensors.matrix("columns", [count, reading.inputs()])?;
    let column_heads = tensors.u32("column_heads", &[count])?;
    let column_models = tensors.u32("column_models", &[count])?;
    let head_domains = tensors.u32("head_domains", &[tensors.rows("head_domains")?])?;
    if column_heads.windows(2).any(|pair| pair[0] > pair[1])
        || column_heads.last().is_some_and(|&last| last as usize >= head_domains.len())
    {
        return Err(refuse("column_heads", "must ascend, and name heads that there are".to_owned()));
    }
    let head = |(number, &domain): (usize, &u32)| {
        let first = column_heads.partition_point(|&head| (head as usize) < number);
        let past = column_heads.partition_point(|&head| head as usize <= number);
        let own = columns.subrows(first, past - first).transpose().to_owned();
        Head { domain, models: column_models.get(first..past).unwrap_or_default().to_vec(), columns: own }
    };
    let heads = head_domains.iter().enumerate().map(head).collect();
    let nearness = tensors.matrix("nearness", [reading.domains(); 2])?;
    let weights = BertWeights { reading, heads, nearness };
    weights.check(models)?;
    Ok(weights)
}
