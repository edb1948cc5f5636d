//! Object messages `{"event":…}` of both sockets, read in one pass whatever the order of their
//! fields.

use super::scan::{Members, ScanError, int_of, unquoted};

/// Codes of info and error events (protocol notes, 1.2).
pub mod code {
    /// The server stops: reconnect.
    pub const STOPPING: i64 = 20_051;
    pub const MAINTENANCE_START: i64 = 20_060;
    pub const MAINTENANCE_END: i64 = 20_061;
    pub const CONF_FAILED: i64 = 10_050;
    pub const AUTH_FAILED: i64 = 10_100;
    pub const AUTH_NONCE: i64 = 10_114;
    pub const SUBSCRIBE_FAILED: i64 = 10_300;
    /// Already subscribed; carries the channel's id.
    pub const SUBSCRIBE_DUP: i64 = 10_301;
    pub const SUBSCRIBE_UNKNOWN: i64 = 10_302;
    /// Too many channels on this socket.
    pub const SUBSCRIBE_LIMIT: i64 = 10_305;
    pub const UNSUBSCRIBE_FAILED: i64 = 10_400;
    pub const UNSUBSCRIBE_NOT: i64 = 10_401;
    /// Not ready yet: try again later.
    pub const NOT_READY: i64 = 11_000;
    pub const RATE_LIMIT: i64 = 11_010;
}

/// The fields we know, as raw bytes without quotes; empty where absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventFields<'a> {
    pub event: &'a [u8],
    pub channel: &'a [u8],
    pub symbol: &'a [u8],
    pub key: &'a [u8],
    pub prec: &'a [u8],
    pub freq: &'a [u8],
    pub len: &'a [u8],
    pub status: &'a [u8],
    pub msg: &'a [u8],
    pub platform: &'a [u8],
    pub caps: &'a [u8],
    pub chan_id: Option<i64>,
    pub sub_id: Option<i64>,
    pub code: Option<i64>,
    pub version: Option<i64>,
    pub flags: Option<i64>,
    pub cid: Option<i64>,
}

impl<'a> EventFields<'a> {
    /// # Errors
    /// `Malformed` where the text is not an object.
    pub fn parse(text: &'a [u8]) -> Result<Self, ScanError> {
        let mut fields = Self::default();
        let mut members = Members::new(text)?;
        while let Some((key, raw)) = members.next()? {
            match key {
                b"event" => fields.event = unquoted(raw),
                b"channel" => fields.channel = unquoted(raw),
                b"symbol" => fields.symbol = unquoted(raw),
                b"key" => fields.key = unquoted(raw),
                b"prec" => fields.prec = unquoted(raw),
                b"freq" => fields.freq = unquoted(raw),
                b"len" => fields.len = unquoted(raw),
                b"status" => fields.status = unquoted(raw),
                b"msg" => fields.msg = unquoted(raw),
                b"platform" => fields.platform = raw,
                b"caps" => fields.caps = raw,
                b"chanId" => fields.chan_id = int_of(raw),
                b"subId" => fields.sub_id = int_of(raw),
                b"code" => fields.code = int_of(raw),
                b"version" => fields.version = int_of(raw),
                b"flags" => fields.flags = int_of(raw),
                b"cid" => fields.cid = int_of(raw),
                _ => {}
            }
        }
        Ok(fields)
    }
    /// The code clamped into what a link event carries; 0 where absent.
    pub fn code_i32(&self) -> i32 {
        self.code.unwrap_or(0).clamp(i32::MIN as i64, i32::MAX as i64) as i32
    }
    /// `platform.status`: 1 operative, 0 maintenance.
    pub fn platform_status(&self) -> Option<i64> {
        member(self.platform, b"status").and_then(int_of)
    }
    /// The right `caps.<scope>.write`: `None` where the server did not say.
    pub fn may_write(&self, scope: &[u8]) -> Option<bool> {
        let scope = member(self.caps, scope)?;
        member(scope, b"write").and_then(int_of).map(|right| right != 0)
    }
}

/// The raw value of one member of a raw object.
pub fn member<'a>(object: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut members = Members::new(object).ok()?;
    while let Ok(Some((key, raw))) = members.next() {
        if key == wanted {
            return Some(raw);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_order() {
        let text = br#"{"channel":"book","symbol":"tDOGEF0:USTF0","prec":"P0","len":"25",
            "event":"error","msg":"subscribe: dup","code":10301,"chanId":722711,"pair":"DOGEF0:USTF0"}"#;
        let fields = EventFields::parse(text).unwrap();
        assert_eq!(fields.event, b"error");
        assert_eq!((fields.code, fields.chan_id), (Some(10_301), Some(722_711)));
        assert_eq!(fields.len, b"25");
        assert_eq!(fields.sub_id, None);
    }

    #[test]
    fn nested_facts_are_found() {
        let text = br#"{"event":"auth","status":"OK","chanId":0,"userId":1,
            "caps":{"orders":{"read":1,"write":1},"withdraw":{"read":0,"write":0}}}"#;
        let fields = EventFields::parse(text).unwrap();
        assert_eq!(fields.may_write(b"orders"), Some(true));
        assert_eq!(fields.may_write(b"withdraw"), Some(false));
        assert_eq!(fields.may_write(b"nope"), None);
        let text = br#"{"event":"info","version":2,"serverId":"x","platform":{"status":0}}"#;
        let fields = EventFields::parse(text).unwrap();
        assert_eq!((fields.version, fields.platform_status()), (Some(2), Some(0)));
    }
}
