//! Server-sent events, taken apart: the number of each, and what it says. Pure.

/// What has arrived of a stream and is no whole event yet.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Takes what arrived, and gives every event that is whole now; comments are none.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<(Option<u64>, String)> {
        self.bytes.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
            let rest = self.bytes.split_off(end.saturating_add(2));
            let event = std::mem::replace(&mut self.bytes, rest);
            events.extend(event_of(&String::from_utf8_lossy(&event)));
        }
        events
    }
}

fn event_of(text: &str) -> Option<(Option<u64>, String)> {
    let field = |name: &'static str| {
        let values = text.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':'));
        values.map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let data: Vec<&str> = field("data").collect();
    let id = field("id").next().and_then(|id| id.parse().ok());
    (!data.is_empty()).then(|| (id, data.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_they_arrive() {
        let stream = ": watching\nretry: 1000\n\nid: 7\nevent: a\ndata: {\"x\":\"ä\"}\n\n: alive\n\ndata: 1\ndata: 2\n\n";
        let expected = [(Some(7), "{\"x\":\"ä\"}".to_owned()), (None, "1\n2".to_owned())];
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let got: Vec<_> = stream.as_bytes().chunks(size).flat_map(|piece| frames.take(piece)).collect();
            assert_eq!(got, expected, "in pieces of {size}");
        }
    }
}
