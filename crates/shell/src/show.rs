//! How znodes are shown: the block of a stat, data as text, base64 or a dump, and all as JSON.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use oxkeeper_client::Stat;
use serde_json::{Value, json};

/// The eleven lines that `stat` and every `-s` print.
pub fn stat_lines(stat: &Stat, zone: &TimeZone) -> Vec<String> {
    vec![
        format!("cZxid = 0x{:x}", stat.czxid.0),
        format!("ctime = {}", date(stat.ctime_ms, zone)),
        format!("mZxid = 0x{:x}", stat.mzxid.0),
        format!("mtime = {}", date(stat.mtime_ms, zone)),
        format!("pZxid = 0x{:x}", stat.pzxid.0),
        format!("cversion = {}", stat.cversion),
        format!("dataVersion = {}", stat.version),
        format!("aclVersion = {}", stat.aversion),
        format!("ephemeralOwner = 0x{:x}", stat.ephemeral_owner.0),
        format!("dataLength = {}", stat.data_length),
        format!("numChildren = {}", stat.num_children),
    ]
}

/// A time as `java.util.Date` prints it: `Fri Nov 20 22:12:13 UTC 2026`.
pub fn date(ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%a %b %d %H:%M:%S %Z %Y").to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

/// What kind of znode it is, as far as its stat tells: no server shows its clients which ones are
/// containers or have a time to live.
pub fn mode(stat: &Stat) -> &'static str {
    if stat.ephemeral_owner.0 == 0 { "persistent" } else { "ephemeral" }
}

/// A stat for programs.
pub fn stat_json(stat: &Stat) -> Value {
    json!({
        "czxid": format!("0x{:x}", stat.czxid.0),
        "mzxid": format!("0x{:x}", stat.mzxid.0),
        "pzxid": format!("0x{:x}", stat.pzxid.0),
        "ctime_ms": stat.ctime_ms,
        "mtime_ms": stat.mtime_ms,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeral_owner": format!("0x{:x}", stat.ephemeral_owner.0),
        "data_length": stat.data_length,
        "num_children": stat.num_children,
        "mode": mode(stat),
    })
}

/// Adds data to a JSON object: `data` if it is text or null, `base64` if it is not.
pub fn data_json(into: &mut Value, data: Option<&[u8]>) {
    match data.map(std::str::from_utf8) {
        None => into["data"] = Value::Null,
        Some(Ok(text)) => into["data"] = json!(text),
        Some(Err(_)) => into["base64"] = json!(base64(data.unwrap_or_default())),
    }
}

/// What [`data_json`] added; `None` if it is no such thing.
pub fn data_from_json(value: &Value) -> Option<Option<Vec<u8>>> {
    if let Some(text) = value.get("base64") {
        return Some(Some(from_base64(text.as_str()?).ok()?));
    }
    match value.get("data")? {
        Value::Null => Some(None),
        text => Some(Some(text.as_str()?.as_bytes().to_vec())),
    }
}

/// Bytes in base64.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of base64.
///
/// # Errors
/// What is wrong with the text.
pub fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| error.to_string())
}

/// Bytes as a table of hexadecimal numbers and characters; no lines for no bytes.
pub fn hex_dump(bytes: &[u8]) -> Vec<String> {
    if bytes.is_empty() {
        return Vec::new();
    }
    const RULE: &str =
        "+--------+-------------------------------------------------+----------------+";
    let mut lines = vec![
        "         +-------------------------------------------------+".to_owned(),
        "         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |".to_owned(),
        RULE.to_owned(),
    ];
    for (row, chunk) in bytes.chunks(16).enumerate() {
        let mut hex = String::with_capacity(48);
        for byte in chunk {
            let _ = write!(hex, " {byte:02x}");
        }
        let text: String = chunk
            .iter()
            .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
            .collect();
        lines.push(format!("|{:08x}|{hex:<48} |{text:<16}|", row * 16));
    }
    lines.push(RULE.to_owned());
    lines
}

/// A count of bytes for people: `17 B`, `1.2 KiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_javas() {
        assert_eq!(date(0, &TimeZone::UTC), "Thu Jan 01 00:00:00 UTC 1970");
        let zone = TimeZone::posix("XST-3").unwrap();
        assert_eq!(date(0, &zone), "Thu Jan 01 03:00:00 XST 1970");
        assert_eq!(date(1_795_212_733_999, &TimeZone::UTC), "Fri Nov 20 22:12:13 UTC 2026");
    }

    #[test]
    fn a_dump_is_nettys() {
        let lines = hex_dump(b"hello world, here\xff");
        assert_eq!(
            lines[3],
            "|00000000| 68 65 6c 6c 6f 20 77 6f 72 6c 64 2c 20 68 65 72 |hello world, her|"
        );
        assert_eq!(
            lines[4],
            "|00000010| 65 ff                                           |e.              |"
        );
        assert!(hex_dump(b"").is_empty());
    }

    #[test]
    fn data_comes_back_out_of_json_as_it_went_in() {
        for data in [None, Some(&b""[..]), Some("grüße".as_bytes()), Some(&[0, 159, 146, 150][..])]
        {
            let mut value = json!({});
            data_json(&mut value, data);
            assert_eq!(data_from_json(&value), Some(data.map(<[u8]>::to_vec)));
        }
        assert_eq!(data_from_json(&json!({"base64": "!"})), None);
    }

    #[test]
    fn sizes_are_for_people() {
        let told: Vec<String> = [17, 1024, 1_300_000, 1 << 34].map(size).to_vec();
        assert_eq!(told, ["17 B", "1.0 KiB", "1.2 MiB", "16.0 GiB"]);
    }
}
