//! Many texts on several threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use faer::Mat;

use super::{EmbedError, Embedder};

/// Texts that a thread takes at a time. Fixed, so that what stands beside a text, and with it the last bits of its
/// vector, does not depend on the number of threads.
const CHUNK: usize = 64;

/// Embeds texts on `threads` threads: one row each, the same on any number of threads. `progress` hears how many are
/// done.
///
/// # Errors
/// When the embedder fails on a text.
pub fn embed_all(
    embedder: &dyn Embedder,
    texts: &[&str],
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(usize),
) -> Result<Mat<f32>, EmbedError> {
    let mut embeddings = Mat::zeros(texts.len(), embedder.dim());
    let chunks: Vec<&[&str]> = texts.chunks(CHUNK).collect();
    let next = AtomicUsize::new(0);
    let (chunks, next, into) = (&chunks, &next, &mut embeddings);
    let threads = threads.get().min(chunks.len());
    let (sender, receiver) = sync_channel(threads);
    // The receiver is moved in: when it is dropped on an error, the threads see that nobody listens, and end.
    thread::scope(move |scope| {
        for _ in 0..threads {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some((place, chunk)) = take(chunks, next) {
                    if sender.send((place, embedder.embed_batch(chunk))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut done = 0;
        for (place, vectors) in receiver {
            let vectors = vectors?;
            into.get_mut(place * CHUNK..place * CHUNK + vectors.nrows(), ..).copy_from(&vectors);
            done += vectors.nrows();
            progress(done);
        }
        Ok(())
    })
    .map(|()| embeddings)
}

/// The next chunk that no thread has taken, with its number.
fn take<'a>(chunks: &[&'a [&'a str]], next: &AtomicUsize) -> Option<(usize, &'a [&'a str])> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    chunks.get(place).map(|chunk| (place, *chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::default_static;
    use crate::encoder::EncoderError;

    fn on(threads: usize, embedder: &dyn Embedder, texts: &[&str]) -> Result<Mat<f32>, EmbedError> {
        let (mut told, threads) = (Vec::new(), NonZeroUsize::new(threads).unwrap());
        let embeddings = embed_all(embedder, texts, threads, &mut |done| told.push(done))?;
        assert!(told.is_sorted() && told.last().copied().unwrap_or_default() == texts.len(), "{told:?}");
        Ok(embeddings)
    }

    #[test]
    fn any_number_of_threads_gives_the_same_rows() {
        let embedder = default_static().unwrap();
        let texts: Vec<String> = (0..3 * CHUNK + 7).map(|number| format!("question {number}?")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let one = on(1, &embedder, &texts).unwrap();
        assert_eq!(one, on(5, &embedder, &texts).unwrap());
        assert_eq!(one, embedder.embed_batch(&texts).unwrap());
        assert_eq!(on(3, &embedder, &[]).unwrap().nrows(), 0);
    }

    /// Fails on every text.
    struct Broken;

    impl Embedder for Broken {
        fn dim(&self) -> usize {
            1
        }

        fn fingerprint(&self) -> &str {
            ""
        }

        fn embed_batch(&self, _: &[&str]) -> Result<Mat<f32>, EmbedError> {
            Err(EncoderError::NotFinite.into())
        }
    }

    #[test]
    fn a_failure_ends_all_threads() {
        assert!(on(2, &Broken, &["a"; 20 * CHUNK]).is_err());
    }
}
