//! A provider answers DNS from its own store.

use crate::world::{Publisher, World};
use dialtone_shared::Name;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// The code and the answers' bytes of a question for A.
pub async fn ask(server: SocketAddr, name: &str) -> (u8, Vec<u8>) {
    ask_for(server, name, 1).await
}

/// The same for any type.
pub async fn ask_for(server: SocketAddr, name: &str, kind: u8) -> (u8, Vec<u8>) {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, kind, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question, server).await.unwrap();
    let mut answer = vec![0; 4_096];
    let length = socket.recv(&mut answer).await.unwrap();
    (answer[3] & 0xf, answer[question.len().min(length)..length].to_vec())
}

pub fn dns_of(name: &Name) -> String {
    name.to_dns("dialtone.alt")
}

#[tokio::test]
async fn a_record_put_over_http_is_answered_over_dns_at_once() {
    let world = World::start().await;
    let server = world.provider.addresses().dns[0];
    let record = Publisher::number(1).signed(world.now());
    assert_eq!(ask(server, &dns_of(record.name())).await.0, 3, "NXDOMAIN before");
    world.put(&record).await;
    let (code, answer) = ask(server, &dns_of(record.name())).await;
    assert_eq!(code, 0);
    assert!(answer.windows(4).any(|window| window == [192, 0, 2, 1]), "{answer:?}");
    assert_eq!(ask(server, "example.com").await.0, 5, "other names are refused");
    world.clock.shift(2 * 3_600);
    assert_eq!(
        ask(server, &dns_of(record.name())).await.0,
        2,
        "an expired record is not served, nor called absent"
    );
    let metrics = world.metrics().await;
    assert!(metrics.contains("dialtone_dns_answers_total{rcode=\"nxdomain\"} 1"), "{metrics}");
    assert!(metrics.contains("dialtone_dns_questions_total{transport=\"udp\"} 4"), "{metrics}");
}

#[tokio::test]
async fn an_answer_that_is_asked_for_again_is_kept_and_both_are_counted() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    world.put(&record).await;
    // From one socket, so that both questions come to the same core.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(world.provider.addresses().dns[0]).await.unwrap();
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in dns_of(record.name()).split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut answer = vec![0; 1_232];
        socket.send(&question).await.unwrap();
        let length = socket.recv(&mut answer).await.unwrap();
        answers.push(answer[..length].to_vec());
    }
    assert_eq!(answers[0], answers[1]);
    let metrics = world.metrics().await;
    assert!(metrics.contains("dialtone_dns_hot_total 1\n"), "{metrics}");
    assert!(metrics.contains("dialtone_dns_kept 1\n"), "{metrics}");
}
