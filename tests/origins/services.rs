//! The real ones.

use super::Checking;

#[tokio::test]
#[ignore = "needs tornado and Action Cable: tests/origins/install"]
async fn tornado_serves_a_page_that_comes_through() {
    Checking::tornado().await.serves_pages().await;
}

#[tokio::test]
#[ignore = "needs tornado and Action Cable: tests/origins/install"]
async fn action_cable_serves_a_page_that_comes_through() {
    Checking::action_cable().await.serves_pages().await;
}
