package config

import (
	"reflect"
	"strings"
)

// fieldNames are the YAML keys of Config, read from its tags so that the list
// can not fall behind.
var fieldNames = func() []string {
	var names []string
	t := reflect.TypeOf(Config{})
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}()
