//! A record as the event's JSON has it.

use std::collections::BTreeMap;

use base64_simd::STANDARD;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message as _, Timestamp};

/// Appends a record that begins with `start`; answers its time, milliseconds since the Unix epoch, if it has one.
pub(super) fn write(json: &mut Vec<u8>, start: &[u8], message: &BorrowedMessage<'_>) -> Option<i64> {
    let (timestamp_ms, timestamp_type) = match message.timestamp() {
        Timestamp::CreateTime(ms) => (ms, "CREATE_TIME"),
        Timestamp::LogAppendTime(ms) => (ms, "LOG_APPEND_TIME"),
        Timestamp::NotAvailable => (-1, "NO_TIMESTAMP_TYPE"),
    };
    json.extend_from_slice(start);
    write_number(json, message.offset());
    json.extend_from_slice(br#","timestamp":"#);
    write_number(json, timestamp_ms);
    json.extend_from_slice(br#","timestampType":""#);
    json.extend_from_slice(timestamp_type.as_bytes());
    json.extend_from_slice(br#"","key":"#);
    write_base64(json, message.key());
    json.extend_from_slice(br#","value":"#);
    write_base64(json, message.payload());
    json.extend_from_slice(br#","headers":["#);
    if let Some(headers) = message.headers() {
        write_headers(json, headers);
    }
    json.extend_from_slice(b"]}");
    message.timestamp().to_millis()
}

fn write_base64(json: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            json.push(b'"');
            STANDARD.encode_append(bytes, json);
            json.push(b'"');
        }
        None => json.extend_from_slice(b"null"),
    }
}

/// Each header is an object of its own, as names may repeat, and its bytes are signed, as Java's are.
fn write_headers(json: &mut Vec<u8>, headers: &BorrowedHeaders) {
    for (index, header) in headers.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.push(b'{');
        json.extend_from_slice(serde_json::Value::from(header.key).to_string().as_bytes());
        json.push(b':');
        match header.value {
            Some(bytes) => {
                json.push(b'[');
                for (index, byte) in bytes.iter().enumerate() {
                    if index > 0 {
                        json.push(b',');
                    }
                    write_number(json, i64::from(byte.cast_signed()));
                }
                json.push(b']');
            }
            // As Lambda has been seen to write it.
            None => json.extend_from_slice(b"{}"),
        }
        json.push(b'}');
    }
}

/// As `write!` does, in a third of the time: headers have a number for each byte.
fn write_number(json: &mut Vec<u8>, number: i64) {
    // Of the magnitude of `i64::MIN`.
    const MOST_DIGITS: usize = 19;
    let mut digits = [0; MOST_DIGITS];
    let mut start = MOST_DIGITS;
    let mut rest = number.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        json.push(b'-');
    }
    json.extend_from_slice(&digits[start..]);
}

/// A record that was written, taken apart again.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Takes a record apart; none if it is not one that [`write`] has written.
pub(super) fn read(json: &[u8]) -> Option<Original> {
    #[derive(serde::Deserialize)]
    struct Written<'a> {
        key: Option<&'a str>,
        value: Option<&'a str>,
        headers: Vec<BTreeMap<String, HeaderValue>>,
    }
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum HeaderValue {
        Bytes(Vec<i8>),
        Null {},
    }
    let written: Written<'_> = serde_json::from_slice(json).ok()?;
    let decoded = |text: Option<&str>| text.map(|text| STANDARD.decode_to_vec(text)).transpose();
    let header = |(name, value)| match value {
        HeaderValue::Bytes(bytes) => (name, Some(bytes.into_iter().map(i8::cast_unsigned).collect())),
        HeaderValue::Null {} => (name, None),
    };
    Some(Original {
        key: decoded(written.key).ok()?,
        value: decoded(written.value).ok()?,
        headers: written.headers.into_iter().flatten().map(header).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: i64) -> String {
        let mut json = Vec::new();
        write_number(&mut json, number);
        String::from_utf8_lossy(&json).into_owned()
    }

    #[test]
    fn every_number_is_written_as_the_standard_library_writes_it() {
        for number in [0, 1, -1, 9, 10, -128, 127, 1_545_084_650_987, i64::MAX, i64::MIN] {
            assert_eq!(written(number), number.to_string());
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let json = br#"{"topic":"t","partition":0,"offset":1,"timestamp":2,"timestampType":"CREATE_TIME","key":"a/8=",
            "value":null,"headers":[{"trace":[0,127,-128,-1]},{"trace":[]},{"quo\"te":{}}]}"#;
        let Some(Original { key, value, headers }) = read(json) else {
            panic!("it is a record");
        };
        assert_eq!((key, value), (Some(b"k\xff".to_vec()), None));
        let trace = |bytes: &[u8]| ("trace".to_owned(), Some(bytes.to_vec()));
        assert_eq!(headers, [trace(&[0, 127, 128, 255]), trace(&[]), ("quo\"te".to_owned(), None)]);
    }
}
