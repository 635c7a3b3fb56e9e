//! Patterns of `LIKE`, with `ESCAPE '!'`.

/// A pattern for whatever contains the text. The database folds the case of both sides,
/// where it is to be folded: SQLite knows ASCII only, and half a folding would find nothing.
pub fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
