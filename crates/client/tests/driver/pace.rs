//! How requests leave: what is asked at once in one write, and a window of them that is asked anew
//! as answers are fetched in parts, so that the server has work while answers are looked at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use oxkeeper_client::Client;

use crate::server::addr;
use crate::soon;
use crate::tap::Tapped;

#[tokio::test]
async fn a_window_leaves_at_once_and_is_filled_again_in_parts() {
    const WINDOW: usize = 256;
    // Length, xid, operation, the path with its length, whether to watch.
    const GET: usize = 4 + 4 + 4 + 5 + 1;
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&sizes);
    let tapped = Tapped::by(move |bytes| noted.lock().unwrap().push(bytes.len()));
    let zk = Client::builder(&addr().to_string()).connector(tapped).connect().await.unwrap();
    zk.get("/").await.unwrap();
    sizes.lock().unwrap().clear();
    let mut under_way: VecDeque<_> = (0..WINDOW).map(|_| zk.get("/").send()).collect();
    for _ in 0..WINDOW * 16 {
        let oldest = under_way.pop_front().unwrap();
        soon(oldest).await.unwrap();
        under_way.push_back(zk.get("/").send());
    }
    let sizes = std::mem::take(&mut *sizes.lock().unwrap());
    assert_eq!(sizes[0], WINDOW * GET, "what is asked at once");
    let largest = sizes[1..].iter().max().unwrap() / GET;
    assert!(largest <= WINDOW / 4, "{largest} requests at once");
}
