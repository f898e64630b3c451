//! The tensors of `sw` and `knn` routers. Prompts are named by their place in the index; panels lie one after the other.
//!
//! | tensor             | type, shape        | holds                                                       |
//! |--------------------|--------------------|-------------------------------------------------------------|
//! | `battle_pairs`     | U32, battles       | the pair of each battle                                     |
//! | `battle_prompts`   | U32, battles       | the prompt of each battle, ascending                        |
//! | `battle_shares`    | U8, battles × 1    | the first model's share of the win, in parts of 252         |
//! | `clusters`         | U32, clusters      | prompts in each cluster of the index; none: not clustered   |
//! | `index`            | I8, prompts × dim  | the direction of each prompt's embedding                    |
//! | `pair_first`, `pair_second` | U32, pairs | the models of each pair                                     |
//! | `pair_scale`, `pair_weight` | F32, pairs | of the source's labels and battles                          |
//! | `panel_models`     | U32, any           | the models of each panel, ascending                         |
//! | `panel_prompts`    | U32, any           | the prompts of each panel, ascending                        |
//! | `panel_ranks`      | U8, any × 1        | for each prompt the ranks of the panel's models; 255: none  |
//! | `panel_rows`, `panel_widths` | U32, panels | prompts and models of each panel                           |
//! | `panel_scale`, `panel_weight` | F32, panels | of the source's labels and battles                        |
//! | `settings`         | F64, 3             | ln γ (`sw`) or k (`knn`), ρ, temperature                    |

use super::{ArtifactProblem, LocalWeights, OwnedTensor, Tensors};
use crate::artifact::check::refuse;
use crate::index::Index;
use crate::local::{Evidence, LocalBattle, Pair, Panel};

pub(super) fn tensors(weights: &LocalWeights) -> Vec<OwnedTensor> {
    let LocalWeights { evidence: Evidence { index, panels, pairs, battles, clusters }, .. } = weights;
    let battle = |field: fn(&LocalBattle) -> u32| -> Vec<u32> { battles.iter().map(field).collect() };
    let pair = |field: fn(&Pair) -> u32| -> Vec<u32> { pairs.iter().map(field).collect() };
    let pair_value = |field: fn(&Pair) -> f32| -> Vec<f32> { pairs.iter().map(field).collect() };
    let all = |field: fn(&Panel) -> &[u32]| -> Vec<u32> { panels.iter().flat_map(field).copied().collect() };
    let count = |field: fn(&Panel) -> usize| -> Vec<u32> { panels.iter().map(|p| field(p) as u32).collect() };
    let panel_value = |field: fn(&Panel) -> f32| -> Vec<f32> { panels.iter().map(field).collect() };
    let shares: Vec<[u8; 1]> = battles.iter().map(|battle| [battle.share]).collect();
    let ranks: Vec<[u8; 1]> = panels.iter().flat_map(|panel| &panel.ranks).map(|&rank| [rank]).collect();
    vec![
        OwnedTensor::u32("battle_pairs", &battle(|battle| battle.pair)),
        OwnedTensor::u32("battle_prompts", &battle(|battle| battle.prompt)),
        OwnedTensor::u8("battle_shares", &shares),
        OwnedTensor::u32("clusters", clusters),
        OwnedTensor::i8("index", index.values(), [index.len(), index.dim()]),
        OwnedTensor::u32("pair_first", &pair(|pair| pair.model_a)),
        OwnedTensor::f32("pair_scale", &pair_value(|pair| pair.scale)),
        OwnedTensor::u32("pair_second", &pair(|pair| pair.model_b)),
        OwnedTensor::f32("pair_weight", &pair_value(|pair| pair.weight)),
        OwnedTensor::u32("panel_models", &all(|panel| &panel.models)),
        OwnedTensor::u32("panel_prompts", &all(|panel| &panel.prompts)),
        OwnedTensor::u8("panel_ranks", &ranks),
        OwnedTensor::u32("panel_rows", &count(|panel| panel.prompts.len())),
        OwnedTensor::f32("panel_scale", &panel_value(|panel| panel.scale)),
        OwnedTensor::f32("panel_weight", &panel_value(|panel| panel.weight)),
        OwnedTensor::u32("panel_widths", &count(|panel| panel.models.len())),
        OwnedTensor::f64("settings", &[weights.setting, weights.ridge, weights.temperature]),
    ]
}

pub(super) fn read(dim: usize, tensors: &Tensors<'_>) -> Result<LocalWeights, ArtifactProblem> {
    let prompts = tensors.rows("index")?;
    let settings = tensors.f64("settings", &[3])?;
    let [setting, ridge, temperature] = settings[..] else {
        return Err(refuse("settings", "has not three values".to_owned()));
    };
    let evidence = Evidence {
        index: Index::new(dim, tensors.i8("index", &[prompts, dim])?),
        panels: panels(tensors)?,
        pairs: pairs(tensors)?,
        battles: battles(tensors)?,
        clusters: tensors.u32("clusters", &[tensors.rows("clusters")?])?,
    };
    Ok(LocalWeights { evidence, setting, ridge, temperature })
}

fn panels(tensors: &Tensors<'_>) -> Result<Vec<Panel>, ArtifactProblem> {
    let count = tensors.rows("panel_rows")?;
    let any = |name| tensors.u32(name, &[tensors.rows(name)?]);
    let (models, prompts) = (any("panel_models")?, any("panel_prompts")?);
    let (rows, widths) = (tensors.u32("panel_rows", &[count])?, tensors.u32("panel_widths", &[count])?);
    let ranks = tensors.u8::<1>("panel_ranks", tensors.rows("panel_ranks")?)?;
    let (scales, weights) = (tensors.f32("panel_scale", &[count])?, tensors.f32("panel_weight", &[count])?);
    let (mut models, mut prompts, mut ranks) = (&models[..], &prompts[..], ranks.as_flattened());
    let mut panels = Vec::with_capacity(count);
    for ((rows, width), (scale, weight)) in rows.into_iter().zip(widths).zip(scales.into_iter().zip(weights))
    {
        let (rows, width) = (rows as usize, width as usize);
        panels.push(Panel {
            scale,
            weight,
            models: taken("panel_models", &mut models, width)?,
            prompts: taken("panel_prompts", &mut prompts, rows)?,
            ranks: taken("panel_ranks", &mut ranks, rows.saturating_mul(width))?,
        });
    }
    if !(models.is_empty() && prompts.is_empty() && ranks.is_empty()) {
        return Err(refuse("panel_rows", "and widths leave some of the panels' values over".to_owned()));
    }
    Ok(panels)
}

/// The first `count` values, taken off the front.
fn taken<T: Clone>(name: &'static str, from: &mut &[T], count: usize) -> Result<Vec<T>, ArtifactProblem> {
    let (taken, rest) =
        from.split_at_checked(count).ok_or_else(|| refuse(name, "is too short for its panels".to_owned()))?;
    *from = rest;
    Ok(taken.to_vec())
}

fn pairs(tensors: &Tensors<'_>) -> Result<Vec<Pair>, ArtifactProblem> {
    let count = tensors.rows("pair_first")?;
    let (first, second) = (tensors.u32("pair_first", &[count])?, tensors.u32("pair_second", &[count])?);
    let (scales, weights) = (tensors.f32("pair_scale", &[count])?, tensors.f32("pair_weight", &[count])?);
    let pairs = first.into_iter().zip(second).zip(scales.into_iter().zip(weights));
    Ok(pairs.map(|((model_a, model_b), (scale, weight))| Pair { model_a, model_b, scale, weight }).collect())
}

fn battles(tensors: &Tensors<'_>) -> Result<Vec<LocalBattle>, ArtifactProblem> {
    let count = tensors.rows("battle_prompts")?;
    let (prompts, pairs) = (tensors.u32("battle_prompts", &[count])?, tensors.u32("battle_pairs", &[count])?);
    let shares = tensors.u8::<1>("battle_shares", count)?;
    let battles = prompts.into_iter().zip(pairs).zip(shares);
    Ok(battles.map(|((prompt, pair), [share])| LocalBattle { prompt, pair, share }).collect())
}
