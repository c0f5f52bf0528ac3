// The older SDK, for `go build -modfile=legacy.mod`. go.mod names the current one.
module sdkclient

go 1.18

require github.com/ably/ably-go v1.2.22

require (
	github.com/klauspost/compress v1.10.3 // indirect
	github.com/ugorji/go/codec v1.1.9 // indirect
	golang.org/x/sys v0.2.0 // indirect
	nhooyr.io/websocket v1.8.7 // indirect
)
