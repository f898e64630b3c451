//! What a built-in model says: a real text, made from the prompt, as long as its kind would write.

/// The answer of `model` to `prompt`, as tokens: words with the space before them.
#[must_use]
pub fn tokens(model: &str, prompt: &str) -> Vec<String> {
    let text = text(model, prompt);
    text.split_inclusive(' ').map(str::to_owned).collect()
}

fn text(model: &str, prompt: &str) -> String {
    let subject = subject(prompt);
    let words = prompt.split_whitespace().count();
    let opening = format!("You asked: \u{201c}{subject}\u{201d}.");
    match model {
        "small" => format!(
            "{opening} I am the small model of this demo: quick and cheap. The router sent you here because, for a \
             prompt like this one, a larger model would seldom have done better than I do."
        ),
        "medium" => format!(
            "{opening} I am the medium model of this demo. Your prompt has {words} words, and the router judged that \
             I beat the small model on prompts like it often enough to be worth my price, while the large one does \
             not beat me often enough to be worth its own."
        ),
        _ => format!(
            "{opening} I am the large model of this demo: slow, expensive, and chosen only when it pays. The router \
             read your {words} words, compared them with what it learned from hundreds of thousands of comparisons \
             between models, and found that I would beat both of the cheaper models often enough. Point this gateway \
             at real upstreams with `pointsman serve --config FILE`, and the same decision sends real work to real \
             models. Lower the threshold, for example with the model name `router-mf-0.3`, and more requests come \
             to me; raise it, and fewer do."
        ),
    }
}

/// The beginning of the prompt, on one line.
fn subject(prompt: &str) -> String {
    let line = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut subject: String = line.chars().take(120).collect();
    if line.chars().count() > 120 {
        subject.push('…');
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_models_say_more() {
        let words = |model| tokens(model, "What is\n2 + 2?").len();
        assert!(words("small") < words("medium") && words("medium") < words("large"));
        assert!(
            tokens("small", "What is\n2 + 2?")
                .concat()
                .starts_with("You asked: \u{201c}What is 2 + 2?\u{201d}.")
        );
    }
}
