//! What tokens cost: prices times usage, and the most that a call can cost before anything is known of its answer.

use crate::{
    config::{Price, TokenPrice, Usd},
    openai::usage::Usage,
};

/// What these tokens cost, each kind at its own price. What an upstream counts among the others, and more of it than there
/// are others, is as many as there are.
#[must_use]
pub fn cost(price: &Price, usage: Usage) -> Usd {
    let [cached, audio_read, read] =
        split(usage.prompt_tokens, [usage.cached_tokens, usage.audio_prompt_tokens]);
    let [thought, audio_written, written] =
        split(usage.completion_tokens, [usage.reasoning_tokens, usage.audio_completion_tokens]);
    [
        (read, price.input),
        (cached, price.cached_input),
        (audio_read, price.audio_input),
        (written, price.output),
        (thought, price.reasoning),
        (audio_written, price.audio_output),
    ]
    .into_iter()
    .fold(Usd::ZERO, |sum, (tokens, price)| sum.plus(times(price, tokens)))
}

/// So many of each of two kinds, and the rest.
fn split(all: u64, [first, second]: [u64; 2]) -> [u64; 3] {
    let first = first.min(all);
    let second = second.min(all - first);
    [first, second, all - first - second]
}

/// The most that a prompt of so many tokens can cost, of whatever kind they are.
#[must_use]
pub fn prompt_at_most(price: &Price, tokens: u64) -> Usd {
    times(price.input.max(price.cached_input).max(price.audio_input), tokens)
}

/// The most that an answer of so many tokens can cost, of whatever kind they are.
#[must_use]
pub fn answer_at_most(price: &Price, tokens: u64) -> Usd {
    times(price.output.max(price.reasoning).max(price.audio_output), tokens)
}

fn times(price: TokenPrice, tokens: u64) -> Usd {
    Usd::from_pico(u128::from(price.pico_usd()) * u128::from(tokens))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(per_token: [u64; 6]) -> Price {
        let [input, output, cached_input, reasoning, audio_input, audio_output] =
            per_token.map(TokenPrice::from_pico_usd);
        Price { input, output, cached_input, reasoning, audio_input, audio_output }
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let usage = Usage {
            cached_tokens: 60,
            audio_prompt_tokens: 10,
            reasoning_tokens: 5,
            audio_completion_tokens: 1,
            ..Usage::of(100, 8)
        };
        let cost = cost(&price([10, 1000, 1, 2000, 100, 5000]), usage);
        assert_eq!(cost.pico(), 30 * 10 + 60 + 10 * 100 + 2 * 1000 + 5 * 2000 + 5000);
    }

    proptest! {
        #[test]
        fn nothing_costs_more_than_the_most(
            prices in any::<[u32; 6]>(),
            usage in any::<[u32; 6]>(),
        ) {
            let price = price(prices.map(u64::from));
            let [prompt, completion, cached, audio_read, thought, audio_written] = usage.map(u64::from);
            let usage = Usage {
                cached_tokens: cached,
                audio_prompt_tokens: audio_read,
                reasoning_tokens: thought,
                audio_completion_tokens: audio_written,
                ..Usage::of(prompt, completion)
            };
            let most = prompt_at_most(&price, prompt).plus(answer_at_most(&price, completion));
            prop_assert!(cost(&price, usage) <= most);
        }
    }
}
