use std::{
    fs,
    io::ErrorKind,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::PathBuf,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::{Directory, socket_pair};
use crate::{
    ListenAddress, Listener, ProxyHeaderFailure, Socket, is_own_user, read_proxy_header, receive_descriptors,
    send_descriptors,
};

fn socket(directory: &Directory) -> (ListenAddress, PathBuf) {
    let path = directory.0.join(".s.PGSQL.5432");
    (ListenAddress::Unix(path.clone()), path)
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_goes_with_its_listener() {
    let directory = Directory::new();
    let (address, path) = socket(&directory);
    let listener = Listener::bind(&address, 0o750).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o750);
    let mut far = UnixStream::connect(&path).await.unwrap();
    let (near, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, None);
    far.write_all(b"x").await.unwrap();
    let Socket::Unix(mut near) = near else { panic!("{near:?}") };
    assert_eq!(near.read_u8().await.unwrap(), b'x');
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_at_which_somebody_listens_is_left_to_them() {
    let directory = Directory::new();
    let (address, path) = socket(&directory);
    let first = Listener::bind(&address, 0o777).unwrap();
    assert_eq!(Listener::bind(&address, 0o777).unwrap_err().kind(), ErrorKind::AddrInUse);
    UnixStream::connect(&path).await.unwrap();
    drop(first);
    Listener::bind(&address, 0o777).unwrap();
}

#[tokio::test]
async fn a_socket_that_a_killed_process_left_is_replaced() {
    let directory = Directory::new();
    let (address, path) = socket(&directory);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the standard library's listener leaves its file");
    let _listener = Listener::bind(&address, 0o777).unwrap();
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_not_removed() {
    let directory = Directory::new();
    let (address, path) = socket(&directory);
    fs::write(&path, "precious").unwrap();
    assert_eq!(Listener::bind(&address, 0o777).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_socket_that_somebody_put_in_the_place_of_ours_is_left_alone() {
    let directory = Directory::new();
    let (address, path) = socket(&directory);
    let ours = Listener::bind(&address, 0o777).unwrap();
    fs::rename(&path, path.with_extension("old")).unwrap();
    let _theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(ours);
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_proxy_header_is_read_and_nothing_past_it() {
    let (mut near, mut far) = socket_pair();
    far.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 5432\r\nnext").await.unwrap();
    let source = read_proxy_header(&mut near).await.unwrap();
    assert_eq!(source, Some("192.0.2.7:4000".parse().unwrap()));
    let mut next = [0; 4];
    near.read_exact(&mut next).await.unwrap();
    assert_eq!(&next, b"next");
}

#[tokio::test]
async fn a_peer_that_sends_no_header_is_told_so_after_its_first_byte() {
    let (mut near, mut far) = socket_pair();
    far.write_all(b"\0").await.unwrap();
    assert!(matches!(read_proxy_header(&mut near).await, Err(ProxyHeaderFailure::Header(_))));
    drop(near);
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"E") && answer.windows(5).any(|code| code == b"08P01"), "{answer:?}");
}

/// A listener's socket, as another process gets it, with the text that it came with.
async fn sent(listener: &Listener) -> (Vec<u8>, OwnedFd) {
    let (near, far) = UnixStream::pair().unwrap();
    send_descriptors(&near, b"a label", &[listener.as_fd()]).await.unwrap();
    let mut buffer = [0; 64];
    let (length, mut descriptors) = receive_descriptors(&far, &mut buffer).await.unwrap();
    assert!(is_own_user(&far).unwrap());
    drop(near);
    assert_eq!(receive_descriptors(&far, &mut [0; 8]).await.unwrap().0, 0, "the stream ends");
    (buffer[..length].to_vec(), descriptors.pop().unwrap())
}

#[tokio::test]
async fn a_socket_that_is_handed_over_loses_no_client() {
    let first = Listener::bind(&ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()), 0).unwrap();
    let ListenAddress::Tcp(address) = *first.address() else { panic!("TCP") };
    // It is not accepted yet.
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let (label, socket) = sent(&first).await;
    assert_eq!(label, b"a label");
    drop(first);
    let second = Listener::adopt(socket, &ListenAddress::Tcp(address)).unwrap();
    let (mut near, _) = second.accept().await.unwrap();
    near.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    let elsewhere = ListenAddress::Tcp("127.0.0.1:1".parse().unwrap());
    let (_, socket) = sent(&second).await;
    assert_eq!(Listener::adopt(socket, &elsewhere).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_unix_socket_that_is_handed_over_is_removed_by_its_new_owner_alone() {
    let directory = Directory::new();
    let (address, path) = socket(&directory);
    let first = Listener::bind(&address, 0o777).unwrap();
    let (_, socket) = sent(&first).await;
    let mut second = Listener::adopt(socket, &address).unwrap();
    first.disown();
    drop(first);
    UnixStream::connect(&path).await.unwrap();
    second.accept().await.unwrap();
    let moved = directory.0.join("elsewhere");
    second.rename(&moved).unwrap();
    assert!(!path.exists());
    UnixStream::connect(&moved).await.unwrap();
    assert_eq!(*second.address(), ListenAddress::Unix(moved.clone()));
    drop(second);
    assert!(!moved.exists());
}
