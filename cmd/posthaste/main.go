// Command posthaste is the whole post office of a domain.
package main

func main() {}
