//! Windows of listings by offset.

use crate::compatible::{Existing, all, register};
use crate::serving::Serving;
use tko_grpc::proto::{self, Window};

/// A window continues where the one before ended, unless something has changed.
#[tokio::test]
async fn windows_one_after_the_other_are_those_of_the_present_state() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    let named = |number: usize| format!("nf/{number:02}:v1");
    for number in 0..10 {
        register(&mut client, &named(number), &[]).await;
    }
    let list = async |client: &mut Existing, offset| {
        let request = proto::ListTemplates {
            window: Some(Window {
                offset,
                max_count: 3,
            }),
            select: None,
        };
        let found = all(client.list_templates(request).await).await;
        found
            .into_iter()
            .map(|template| template.template_id)
            .collect::<Vec<_>>()
    };
    for _ in 0..2 {
        for (offset, numbers) in [(0, 0..3), (3, 3..6), (6, 6..9), (9, 9..10)] {
            let expected: Vec<_> = numbers.map(named).collect();
            assert_eq!(list(&mut client, offset).await, expected);
        }
    }
    assert!(list(&mut client, 10).await.is_empty());
    let id = proto::TemplateId {
        template_id: named(1),
    };
    client.delete_template(id).await.expect("sound");
    let expected: Vec<_> = (4..7).map(named).collect();
    assert_eq!(
        list(&mut client, 3).await,
        expected,
        "one of the first is gone"
    );
    register(&mut client, "nf/00a:v1", &[]).await;
    let expected: Vec<_> = (6..9).map(named).collect();
    assert_eq!(
        list(&mut client, 6).await,
        expected,
        "one of the first is new"
    );
}
