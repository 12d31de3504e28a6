//! `watch`: a subtree, live.
//!
//! One persistent recursive watch sees every change of the subtree. Where the connection was away
//! it says that something may be missing, instead of being silent.

use oxkeeper_client::{AddWatchMode, EventType, WatchEvent, WatchItem};
use serde_json::json;

use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::out::Style;
use crate::session::event_name;
use crate::shell::{OnPath, Shell};
use crate::show;

/// `watch [-f] [--data] path`.
///
/// # Errors
/// If it cannot be watched, or the session ends.
pub async fn watch(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    let zk = shell.zk()?;
    let mut stream = zk.add_watch(path, AddWatchMode::Recursive).await.on(path)?;
    if zk.exists(path).await.on(path)?.is_none() {
        shell.out.note(format!("{path} is not there yet"));
    }
    if !shell.json && given.has("-f") {
        let text = format!("following {path}, Ctrl-C ends it");
        shell.out.note(shell.out.styled_note(Style::Dim, &text));
    }
    while let Some(item) = stream.next().await {
        match item {
            WatchItem::Event(event) => {
                tell(shell, &event, given.has("--data")).await?;
                if !given.has("-f") || shell.out.gone() {
                    return Ok(());
                }
            }
            WatchItem::Gap => {
                let text = "changes may have been missed: the connection was away";
                shell.out.note(shell.out.styled_note(Style::Changed, text));
            }
            WatchItem::Lost(loss) => {
                return Err(Failure::new(Kind::SessionOver, loss.to_string())
                    .hint("connect begins a new session"));
            }
        }
    }
    Ok(())
}

async fn tell(shell: &Shell, event: &WatchEvent, with_data: bool) -> Result<(), Failure> {
    let now = jiff::Timestamp::now();
    let wanted =
        with_data && matches!(event.kind, EventType::NodeCreated | EventType::NodeDataChanged);
    // Between the event and now it may have gone again, or be closed to us.
    let data = if wanted { shell.zk()?.get(&event.path).await.ok() } else { None };
    if shell.json {
        let mut value = json!({
            "time": now.to_string(),
            "event": event_name(event.kind),
            "path": event.path,
            "zxid": event.zxid.map(|zxid| zxid.to_string()),
        });
        if let Some(data) = data {
            show::data_json(&mut value, data.bytes.as_deref());
            value["version"] = json!(data.stat.version);
        }
        shell.out.json(&value);
        return Ok(());
    }
    let (sign, style) = match event.kind {
        EventType::NodeCreated => ("created ", Style::Added),
        EventType::NodeDeleted => ("deleted ", Style::Removed),
        EventType::NodeDataChanged => ("changed ", Style::Changed),
        EventType::NodeChildrenChanged => ("children", Style::Bold),
    };
    let time = now.to_zoned(shell.zone.clone()).strftime("%H:%M:%S%.3f").to_string();
    let mut text = format!("{} {} {}", time, shell.out.styled(style, sign), event.path);
    if let Some(data) = data {
        let shown = String::from_utf8_lossy(data.bytes.as_deref().unwrap_or(b"null"));
        let about = format!("  version {}: {shown}", data.stat.version);
        text.push_str(&shell.out.styled(Style::Dim, &about));
    }
    shell.out.line(text);
    Ok(())
}
