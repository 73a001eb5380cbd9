//go:build linux

// Command trackerload measures a tracker beside opentracker on one machine:
// announces a second over UDP, over HTTP with a connection for each, and over
// HTTP with connections that stay, and the memory of a million peers.
//
// It announces from thousands of addresses of 127.0.0.0/8, so that limits for
// each address hold as they would. The trackers take turns, and each is first
// told of all peers, then asked again and again on behalf of random ones.
package main
