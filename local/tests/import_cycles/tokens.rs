//! Splits Rust source into tokens. Leaves out comments, quoted text and items under `#[cfg(test)]`.

/// Returns the tokens of a file: identifiers, `::`, and single characters.
pub(crate) fn read(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest, '"'),
            '\'' => char_or_lifetime(rest),
            ':' if rest.starts_with("::") => 2,
            c if is_word(c) => match rest.find(|c| !is_word(c)).unwrap_or(rest.len()) {
                length if matches!(&rest[..length], "r" | "br") => raw_string(rest, length).unwrap_or(length),
                length => length,
            },
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        let is_sign = token.len() == 1 && !first.is_whitespace();
        if token == "::" || is_sign || is_word(first) && !token.contains('"') {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    without_tests(&tokens)
}

/// Returns the number of tokens in the item with which `tokens` begins, up to its `;` or closing brace.
pub(crate) fn item_length(tokens: &[String]) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth <= 0 && (token == ";" || token == "}") {
            return index + 1;
        }
    }
    tokens.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (index, pair) in text.as_bytes().windows(2).enumerate() {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 2;
        }
    }
    text.len()
}

/// Returns the length of a quoted text, in which a backslash escapes the next character.
fn quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

fn char_or_lifetime(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1 + text[1..].find(|c| !is_word(c)).unwrap_or(text.len() - 1),
    }
}

/// Returns the length of the raw string with which the text begins. `prefix` is the length of the string's prefix.
/// Returns `None` if the text begins with an identifier instead.
fn raw_string(text: &str, prefix: usize) -> Option<usize> {
    let hashes = text[prefix..].find(|c| c != '#')?;
    let start = prefix + hashes + 1;
    text[prefix + hashes..].starts_with('"').then_some(())?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(start + text[start..].find(&end)? + end.len())
}

fn without_tests(tokens: &[String]) -> Vec<String> {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        if rest.len() > CFG_TEST.len() && rest.iter().zip(CFG_TEST).all(|(token, expected)| token == expected) {
            let item = &rest[CFG_TEST.len()..];
            rest = &item[item_length(item)..];
        } else {
            kept.push(first.clone());
            rest = after;
        }
    }
    kept
}
