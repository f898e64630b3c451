//! What a training measured, on stdout.

use std::io::{self, Write};

use pointsman_routers::artifact::{Anchor, Artifact};
use serde_json::{Value, json};

use super::common::Basics;
use crate::cli::Format;

pub(super) fn show(out: &mut impl Write, basics: &Basics, artifact: &Artifact) -> io::Result<()> {
    let provenance = artifact.provenance();
    match basics.format {
        Format::Json => {
            let shown = json!({
                "out": basics.out,
                "router": artifact.kind(),
                "models": artifact.ratings().models.len(),
                "training_prompts": provenance.training_prompts.len(),
                "seed": basics.seed,
                "anchor": provenance.anchor,
                "metrics": provenance.metrics,
            });
            writeln!(out, "{shown}")
        }
        Format::Text => {
            writeln!(out, "{}\n", basics.out.display())?;
            let Anchor { model, elo } = &provenance.anchor;
            writeln!(out, "Elo ratings are relative to {model} = {elo}")?;
            let arena = Anchor::arena().model;
            if *model != arena {
                writeln!(
                    out,
                    "({arena}, the Arena's anchor, is not in the data: this model fought most battles there)"
                )?;
            }
            writeln!(out)?;
            writeln!(out, "log-loss per battle on prompts held out    prompts   router  global ratings")?;
            let losses = provenance.metrics.get("dev_log_loss").and_then(Value::as_object);
            for (source, loss) in losses.into_iter().flatten() {
                let number = |key: &str| loss.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
                let (prompts, router) = (number("prompts"), number("log_loss"));
                let global = number("log_loss_of_global_fit");
                writeln!(out, "  {source:<40} {prompts:>7} {router:>8.4} {global:>15.4}")?;
            }
            Ok(())
        }
    }
}
