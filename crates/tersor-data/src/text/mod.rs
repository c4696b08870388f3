//! Plain text as tokens, for measuring language models.

mod merge;
mod tokenizer;

pub use tokenizer::Tokenizer;

/// The paragraphs of a text, joined into pieces of more than `min_chars` characters each.
///
/// Paragraphs are separated by an empty line, which counts for nothing, and stay whole. What is left at the end
/// without being long enough is dropped, so that all pieces give a model about as much context.
pub fn chunks(text: &str, min_chars: usize) -> Vec<&str> {
    let mut chunks = Vec::new();
    let (mut start, mut end, mut n_chars) = (0, 0, 0);
    for paragraph in text.split_inclusive(SEPARATOR) {
        end += paragraph.len();
        n_chars += without_separator(paragraph).chars().count();
        if n_chars > min_chars {
            chunks.push(without_separator(&text[start..end]));
            (start, n_chars) = (end, 0);
        }
    }
    chunks
}

/// Between paragraphs.
const SEPARATOR: &str = "\n\n";

fn without_separator(text: &str) -> &str {
    text.strip_suffix(SEPARATOR).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::chunks;

    #[test]
    fn paragraphs_stay_whole_and_the_short_end_is_dropped() {
        let text = "one\n\ntwo two\nstill two\n\nthree\n\n\n\nfour is long enough\n\nend";
        assert_eq!(
            chunks(text, 10),
            ["one\n\ntwo two\nstill two", "three\n\n\n\nfour is long enough"]
        );
        assert_eq!(
            chunks(text, 0),
            [
                "one",
                "two two\nstill two",
                "three",
                "\n\nfour is long enough",
                "end"
            ]
        );
        assert!(chunks(text, 1000).is_empty());
        assert!(chunks("", 0).is_empty());
    }

    #[test]
    fn length_counts_characters_of_paragraphs() {
        assert_eq!(chunks("äöü", 2), ["äöü"]);
        assert!(chunks("äöü", 3).is_empty());
        assert!(chunks("a\n\nb\n\n", 2).is_empty());
    }
}
