//! A record's headers as JSON, the form in which tables keep them.

use serde_json::{Value, json};

use crate::kafka::RecordHeader;

/// Converts headers to JSON: `[{"name", "value"}]`. If PostgreSQL cannot store a value as text, its bytes are listed as
/// numbers in `bytes` instead. In the same way, a name's bytes are listed in `name_bytes`. A header without a value has
/// neither `value` nor `bytes`.
pub fn to_json(headers: &[RecordHeader]) -> Value {
    let header = |(name, value): &RecordHeader| {
        let mut header =
            if name.contains('\0') { json!({"name_bytes": name.as_bytes()}) } else { json!({ "name": name }) };
        match value.as_deref().map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => {}
            Some((_, Ok(text))) if !text.contains('\0') => header["value"] = json!(text),
            Some((bytes, _)) => header["bytes"] = json!(bytes),
        }
        header
    };
    headers.iter().map(header).collect()
}

/// Converts the output of [`to_json`] to headers.
pub fn from_json(headers: &Value) -> Vec<RecordHeader> {
    let header = |header: &Value| {
        let bytes = |member: &str| -> Option<Vec<u8>> {
            let bytes = header.get(member)?.as_array()?.iter();
            bytes.map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
        };
        let name = match header.get("name") {
            Some(name) => name.as_str()?.to_owned(),
            None => String::from_utf8(bytes("name_bytes")?).ok()?,
        };
        let text = header.get("value").and_then(Value::as_str).map(|text| text.as_bytes().to_vec());
        Some((name, text.or_else(|| bytes("bytes"))))
    };
    headers.as_array().into_iter().flatten().filter_map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_byte_by_byte_and_in_order() {
        let headers: [(&str, Option<&[u8]>); 6] = [
            ("a", Some(b"text")),
            ("b", Some(b"\xff\x00")),
            ("a", Some(b"nul\0")),
            ("c", None),
            ("d", Some(b"")),
            ("e\0", Some(b"f")),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
        let json = to_json(&headers);
        assert_eq!(from_json(&json), headers);
        assert!(!json.to_string().contains(r"\u0000"), "PostgreSQL cannot store {json}");
    }
}
