//! Who may do what: identities, the repair of lists that clients send, and the check itself.
//!
//! An identity is a scheme and a text. A connection always has `ip`, and gains others by proving
//! them; how `digest` hashes a password is not known here. A list is repaired once, when it is set
//! ([`fix_up`]): duplicates go, `auth` becomes the identities of whoever asks, and what no scheme
//! accepts is refused. Afterwards only comparing is left ([`permits`]). The rules are those of
//! `PrepRequestProcessor.fixupACL`, `ZooKeeperServer.checkACL` and the providers in `server.auth`.

use std::borrow::Cow;

use hashbrown::HashSet;
use oxkeeper_proto::codec::patch_int;
use oxkeeper_proto::{Acl, AclList, ErrorCode, OPEN_ACL_UNSAFE, Put};
use smallvec::SmallVec;

/// One identity of a connection (`org.apache.zookeeper.data.Id`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuthId {
    /// The scheme: `ip`, `digest`, `super`, …
    pub scheme: String,
    /// The identity within the scheme.
    pub id: String,
}

impl AuthId {
    /// An identity from its parts.
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Self {
        AuthId { scheme: scheme.into(), id: id.into() }
    }
}

/// The schemes that this server has a provider for besides `ip` (`ProviderRegistry`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schemes {
    /// `zookeeper.DigestAuthenticationProvider.enabled`.
    pub digest: bool,
    /// SASL is configured.
    pub sasl: bool,
    /// TLS client certificates are.
    pub x509: bool,
}

impl Default for Schemes {
    fn default() -> Self {
        Schemes { digest: true, sasl: false, x509: false }
    }
}

/// A registered provider: what it accepts, and when two ids match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    Ip,
    Digest,
    /// sasl, x509: any text is an id, ids match if equal.
    Text,
}

impl Schemes {
    fn provider(&self, scheme: &str) -> Option<Provider> {
        match scheme {
            "ip" => Some(Provider::Ip),
            "digest" if self.digest => Some(Provider::Digest),
            "sasl" if self.sasl => Some(Provider::Text),
            "x509" if self.x509 => Some(Provider::Text),
            _ => None,
        }
    }
}

impl Provider {
    /// True if identities of this scheme stand in for `auth`: an address proves nobody.
    fn is_authenticated(self) -> bool {
        self != Provider::Ip
    }

    fn is_valid(self, id: &str) -> bool {
        match self {
            Provider::Ip => IpRange::parse(id).is_some(),
            Provider::Digest => is_digest_id(id),
            Provider::Text => true,
        }
    }

    fn matches(self, id: &str, expression: &str) -> bool {
        match self {
            Provider::Ip => IpRange::parse(expression).is_some_and(|range| range.contains(id)),
            Provider::Digest | Provider::Text => id == expression,
        }
    }
}

/// `user:hash`. Java splits at colons and drops empty parts at the end, so trailing colons pass.
fn is_digest_id(id: &str) -> bool {
    id.trim_end_matches(':').bytes().filter(|&b| b == b':').count() == 1
}

/// How a list was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixed {
    /// It is the open list; nothing was written.
    Open,
    /// The repaired list was appended.
    Written,
}

/// Repairs a list that a client wants to set and appends it to `out`, encoded
/// (`PrepRequestProcessor.fixupACL`).
///
/// Errors: INVALIDACL, and MARSHALLINGERROR where Java trips over a null id or where expanding
/// `auth` passes `bytes_max`, which no transaction could hold.
pub fn fix_up(
    list: AclList<'_>,
    auth: &[AuthId],
    schemes: Schemes,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<Fixed, ErrorCode> {
    if list == OPEN_ACL_UNSAFE {
        return Ok(Fixed::Open);
    }
    let start = out.len();
    out.put_int(0);
    let mut count = 0;
    let mut seen = Seen::default();
    for entry in list.iter() {
        if !seen.first_time(&entry) {
            continue;
        }
        count += fix_entry(&entry, auth, schemes, out)?;
        if out.len() - start > bytes_max {
            return Err(ErrorCode::MARSHALLING_ERROR);
        }
    }
    if count == 0 {
        return Err(ErrorCode::INVALID_ACL);
    }
    patch_int(out, start, count);
    Ok(Fixed::Written)
}

/// Appends what one entry becomes and says how many entries that are.
fn fix_entry(
    entry: &Acl<'_>,
    auth: &[AuthId],
    schemes: Schemes,
    out: &mut Vec<u8>,
) -> Result<i32, ErrorCode> {
    let scheme = entry.scheme.as_deref().ok_or(ErrorCode::INVALID_ACL)?;
    if scheme == "auth" {
        let mut count = 0;
        for id in auth {
            if schemes.provider(&id.scheme).is_some_and(Provider::is_authenticated) {
                Acl::new(entry.perms, &id.scheme, &id.id).encode(out);
                count += 1;
            }
        }
        return if count == 0 { Err(ErrorCode::INVALID_ACL) } else { Ok(count) };
    }
    let provider = schemes.provider(scheme);
    if scheme != "world" && provider.is_none() {
        return Err(ErrorCode::INVALID_ACL);
    }
    let id = entry.id.as_deref().ok_or(ErrorCode::MARSHALLING_ERROR)?;
    let valid = match provider {
        Some(provider) => provider.is_valid(id),
        None => id == "anyone",
    };
    if !valid {
        return Err(ErrorCode::INVALID_ACL);
    }
    entry.encode(out);
    Ok(1)
}

/// The parts of an entry that make two the same.
type EntryKey<'a> = (i32, Option<Cow<'a, str>>, Option<Cow<'a, str>>);

/// Entries met so far. Lists are short; a hostile one is as long as a frame.
#[derive(Default)]
struct Seen<'a> {
    few: SmallVec<[EntryKey<'a>; 8]>,
    many: HashSet<EntryKey<'a>, foldhash::fast::FixedState>,
}

impl<'a> Seen<'a> {
    fn first_time(&mut self, entry: &Acl<'a>) -> bool {
        let key = (entry.perms, entry.scheme.clone(), entry.id.clone());
        if self.few.contains(&key) || self.many.contains(&key) {
            return false;
        }
        if self.few.len() < 8 {
            self.few.push(key);
            true
        } else {
            self.many.insert(key)
        }
    }
}

/// True if one of the identities may do what `perm` stands for (`ZooKeeperServer.checkACL`). An
/// empty list permits everything, `super` may everything.
pub fn permits(list: AclList<'_>, perm: i32, auth: &[AuthId], schemes: Schemes) -> bool {
    if list == OPEN_ACL_UNSAFE && perm & oxkeeper_proto::perms::ALL != 0 {
        return true;
    }
    if auth.iter().any(|id| id.scheme == "super") {
        return true;
    }
    let mut empty = true;
    for entry in list.iter() {
        empty = false;
        if entry.perms & perm != 0 && names(&entry, auth, schemes) {
            return true;
        }
    }
    empty
}

/// True if an entry speaks of one of the identities.
fn names(entry: &Acl<'_>, auth: &[AuthId], schemes: Schemes) -> bool {
    let (Some(scheme), Some(id)) = (entry.scheme.as_deref(), entry.id.as_deref()) else {
        return false;
    };
    if scheme == "world" && id == "anyone" {
        return true;
    }
    let Some(provider) = schemes.provider(scheme) else { return false };
    auth.iter().any(|own| own.scheme == scheme && provider.matches(&own.id, id))
}

/// Addresses with a common prefix: `10.0.0.0/8`, `::1` (`IPAuthenticationProvider`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IpRange {
    address: Address,
    bits: u32,
}

/// The address's bits, the first at the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    V4(u32),
    V6(u128),
}

impl IpRange {
    fn parse(expression: &str) -> Option<IpRange> {
        let (address, bits) = match expression.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (expression, None),
        };
        let address = Address::parse(address)?;
        let width = match address {
            Address::V4(_) => 32,
            Address::V6(_) => 128,
        };
        let bits = match bits {
            Some(bits) => u32::try_from(bits.parse::<i32>().ok()?).ok()?,
            None => width,
        };
        (bits <= width).then_some(IpRange { address, bits })
    }

    fn contains(&self, id: &str) -> bool {
        match (self.address, Address::parse(id)) {
            (Address::V4(own), Some(Address::V4(other))) => {
                (own ^ other).checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (Address::V6(own), Some(Address::V6(other))) => {
                (own ^ other).checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl Address {
    /// Parses what Java's provider parses, which differs from the standard in places: signs are
    /// taken, leading zeros too, and a v6 address never ends in a v4 one.
    fn parse(text: &str) -> Option<Address> {
        if text.contains(':') { Address::parse_v6(text) } else { Address::parse_v4(text) }
    }

    fn parse_v4(text: &str) -> Option<Address> {
        let mut bits = 0;
        let mut parts = 0;
        for part in text.split('.') {
            let value = u8::try_from(part.parse::<i32>().ok()?).ok()?;
            bits = bits << 8 | u32::from(value);
            parts += 1;
            if parts > 4 {
                return None;
            }
        }
        (parts == 4).then_some(Address::V4(bits))
    }

    fn parse_v6(text: &str) -> Option<Address> {
        let mut halves = text.split("::");
        let head = halves.next()?;
        let (tail, compressed) = match halves.next() {
            Some(tail) => (tail, true),
            None => ("", false),
        };
        if halves.next().is_some() {
            return None;
        }
        let (head, head_count) = segments(head)?;
        let (tail, tail_count) = segments(tail)?;
        let count = head_count + tail_count;
        if if compressed { count >= 8 } else { count != 8 } {
            return None;
        }
        // The head at the top, the tail at the bottom, zeros between.
        let shifted = head.checked_shl(16 * (8 - head_count)).unwrap_or(0);
        Some(Address::V6(shifted | tail))
    }
}

/// The value and number of hexadecimal segments between colons; an empty text has none.
fn segments(text: &str) -> Option<(u128, u32)> {
    let mut value = 0u128;
    let mut count = 0;
    if text.is_empty() {
        return Some((0, 0));
    }
    for segment in text.split(':') {
        if segment.is_empty() || segment.len() > 4 || count == 8 {
            return None;
        }
        let segment = i32::from_str_radix(segment, 16).ok()? as u16;
        value = value << 16 | u128::from(segment);
        count += 1;
    }
    Some((value, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxkeeper_proto::data::encode_acl;
    use oxkeeper_proto::perms;

    fn list(entries: &[Acl<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_acl(&mut out, entries);
        out
    }

    fn fix(
        entries: &[Acl<'_>],
        auth: &[AuthId],
        schemes: Schemes,
    ) -> Result<Vec<(i32, String, String)>, ErrorCode> {
        let raw = list(entries);
        let mut out = Vec::new();
        fix_up(AclList::from_raw(&raw).unwrap(), auth, schemes, 1 << 20, &mut out)?;
        let fixed = AclList::from_raw(&out).unwrap();
        let text = |text: Option<Cow<'_, str>>| text.unwrap().into_owned();
        Ok(fixed.iter().map(|a| (a.perms, text(a.scheme), text(a.id))).collect())
    }

    fn entry(perms: i32, scheme: &str, id: &str) -> (i32, String, String) {
        (perms, scheme.into(), id.into())
    }

    #[test]
    fn auth_becomes_the_identities_that_prove_somebody() {
        let auth = [
            AuthId::new("ip", "127.0.0.1"),
            AuthId::new("digest", "bob:hash"),
            AuthId::new("super", ""),
            AuthId::new("sasl", "bob"),
        ];
        let entries = [Acl::new(5, "auth", ""), Acl::new(1, "world", "anyone")];
        assert_eq!(
            fix(&entries, &auth, Schemes::default()),
            Ok(vec![entry(5, "digest", "bob:hash"), entry(1, "world", "anyone")])
        );
        let sasl = Schemes { sasl: true, ..Schemes::default() };
        assert_eq!(fix(&entries, &auth, sasl).unwrap()[1], entry(5, "sasl", "bob"));
        assert_eq!(fix(&entries, &auth[..1], sasl), Err(ErrorCode::INVALID_ACL));
        let null = [Acl { perms: 1, scheme: Some("auth".into()), id: None }];
        assert_eq!(fix(&null, &auth, Schemes::default()).unwrap().len(), 1);
    }

    #[test]
    fn duplicates_go_and_order_stays() {
        let mut entries = vec![Acl::new(1, "ip", "10.0.0.1"), Acl::new(2, "ip", "10.0.0.1")];
        entries.extend((0..40).map(|i| Acl::new(i % 20, "digest", "a:b")));
        entries.push(Acl::new(1, "ip", "10.0.0.1"));
        let fixed = fix(&entries, &[], Schemes::default()).unwrap();
        assert_eq!(fixed.len(), 22);
        assert_eq!(fixed[1], entry(2, "ip", "10.0.0.1"));
        assert_eq!(fixed[21], entry(19, "digest", "a:b"));
    }

    #[test]
    fn what_no_scheme_accepts_is_refused() {
        let none = Schemes { digest: false, sasl: false, x509: false };
        let bad = [
            ("world", "somebody"),
            ("super", ""),
            ("sasl", "bob"),
            ("x509", "CN=a"),
            ("nothing", "a"),
            ("digest", "bob"),
            ("digest", "bob:"),
            ("digest", "a:b:c"),
            ("digest", ":"),
            ("digest", ""),
            ("ip", ""),
            ("ip", "1.2.3"),
            ("ip", "1.2.3.256"),
            ("ip", "1.2.3.4/33"),
            ("ip", "1.2.3.4/-1"),
            ("ip", "1.2.3.4/"),
            ("ip", "::1/129"),
        ];
        for (scheme, id) in bad {
            assert_eq!(
                fix(&[Acl::new(31, scheme, id)], &[], Schemes::default()),
                Err(ErrorCode::INVALID_ACL),
                "{scheme}:{id}"
            );
        }
        let digest = [Acl::new(31, "digest", "a:b")];
        assert_eq!(fix(&digest, &[], none), Err(ErrorCode::INVALID_ACL));
        assert_eq!(fix(&[], &[], none), Err(ErrorCode::INVALID_ACL));
        let null = AclList::from_raw(&[0xff; 4]).unwrap();
        let fixed = fix_up(null, &[], none, 100, &mut Vec::new());
        assert_eq!(fixed, Err(ErrorCode::INVALID_ACL));
        for (scheme, code) in [
            ("world", ErrorCode::MARSHALLING_ERROR),
            ("ip", ErrorCode::MARSHALLING_ERROR),
            ("nothing", ErrorCode::INVALID_ACL),
        ] {
            let acl = [Acl { perms: 31, scheme: Some(scheme.into()), id: None }];
            assert_eq!(fix(&acl, &[], none), Err(code), "{scheme}");
        }
        let no_scheme = [Acl { perms: 31, scheme: None, id: Some("a".into()) }];
        assert_eq!(fix(&no_scheme, &[], none), Err(ErrorCode::INVALID_ACL));
    }

    #[test]
    fn javas_split_lets_trailing_colons_pass() {
        for id in ["a:b", "a:b:", "a:b::", ":b"] {
            assert!(fix(&[Acl::new(1, "digest", id)], &[], Schemes::default()).is_ok(), "{id}");
        }
    }

    #[test]
    fn expanding_cannot_outgrow_a_transaction() {
        let auth: Vec<_> = (0..100).map(|i| AuthId::new("digest", format!("u{i}:p"))).collect();
        let entries: Vec<_> = (0..1000).map(|perms| Acl::new(perms, "auth", "")).collect();
        let raw = list(&entries);
        let mut out = Vec::new();
        let fixed =
            fix_up(AclList::from_raw(&raw).unwrap(), &auth, Schemes::default(), 10_000, &mut out);
        assert_eq!(fixed, Err(ErrorCode::MARSHALLING_ERROR));
        assert!(out.len() < 20_000);
    }

    #[test]
    fn a_list_permits_whom_it_names() {
        let raw = list(&[
            Acl::new(perms::READ, "world", "anyone"),
            Acl::new(perms::WRITE, "digest", "bob:x"),
            Acl::new(perms::CREATE, "ip", "10.0.0.0/8"),
            Acl::new(perms::ADMIN, "sasl", "bob"),
        ]);
        let acl = AclList::from_raw(&raw).unwrap();
        let bob = [AuthId::new("ip", "10.1.2.3"), AuthId::new("digest", "bob:x")];
        let eve = [AuthId::new("ip", "11.1.2.3"), AuthId::new("digest", "eve:x")];
        let sasl = [AuthId::new("sasl", "bob")];
        let root = [AuthId::new("super", "")];
        let on = Schemes { sasl: true, ..Schemes::default() };
        let off = Schemes { digest: false, ..Schemes::default() };
        for (auth, schemes, perm, expected) in [
            (&bob[..], on, perms::READ, true),
            (&bob, on, perms::WRITE, true),
            (&bob, on, perms::CREATE, true),
            (&bob, on, perms::DELETE, false),
            (&bob, off, perms::WRITE, false),
            (&eve, on, perms::READ, true),
            (&eve, on, perms::WRITE, false),
            (&eve, on, perms::CREATE, false),
            (&eve, on, perms::READ | perms::ADMIN, true),
            (&sasl, on, perms::ADMIN, true),
            (&sasl, off, perms::ADMIN, false),
            (&root, off, perms::DELETE, true),
            (&[], on, perms::READ, true),
            (&[], on, perms::WRITE, false),
        ] {
            assert_eq!(permits(acl, perm, auth, schemes), expected, "{auth:?} {perm}");
        }
        assert!(permits(OPEN_ACL_UNSAFE, perms::DELETE, &[], on));
        let empty = list(&[]);
        assert!(permits(AclList::from_raw(&empty).unwrap(), perms::ADMIN, &[], on));
    }

    #[test]
    fn address_ranges_are_javas() {
        for (expression, id, expected) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/9", "10.128.0.1", false),
            ("10.0.0.0/31", "10.0.0.1", true),
            ("1.2.3.4/0", "200.0.0.1", true),
            ("1.2.3.4/0", "::1", false),
            ("0.0.0.0/0", "garbage", false),
            ("010.0.0.1", "10.0.0.1", true),
            ("+10.0.0.1/+32", "10.0.0.1", true),
            ("::/0", "fe80::1", true),
            ("::1", "0:0:0:0:0:0:0:1", true),
            ("1::", "1:0:0:0:0:0:0:0", true),
            ("fe80::/10", "febf::1", true),
            ("fe80::/10", "fec0::1", false),
            ("2001:db8::a:1/127", "2001:db8:0:0:0:0:a:0", true),
            ("::1", "127.0.0.1", false),
        ] {
            let found = IpRange::parse(expression).is_some_and(|range| range.contains(id));
            assert_eq!(found, expected, "{id} in {expression}");
        }
        for bad in [
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4::5:6:7:8",
            "1::2::3",
            ":::",
            "12345::",
            "::ffff:1.2.3.4",
            "g::",
            "1:",
            "",
            "1.2.3.4.5",
            "1.2.3.",
            "1.2.3.4/1/2",
        ] {
            assert_eq!(IpRange::parse(bad), None, "{bad}");
        }
    }
}
