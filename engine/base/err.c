/* err.c - texts and classes of errors, straight from err.def */
#include <mailshelf/err.h>

const char *
shelf_err_text(int err)
{
	switch (err) {
	case SHELF_OK:
		return "ok";
#define SHELF_ERROR(name, number, class, text)                                                     \
	case SHELF_E##name:                                                                        \
		return text;
#include <mailshelf/err.def>
#undef SHELF_ERROR
	}
	return "unknown error";
}

const char *
shelf_err_name(int err)
{
	switch (err) {
	case SHELF_OK:
		return "OK";
#define SHELF_ERROR(name, number, class, text)                                                     \
	case SHELF_E##name:                                                                        \
		return #name;
#include <mailshelf/err.def>
#undef SHELF_ERROR
	}
	return "UNKNOWN_ERROR";
}

enum shelf_err_class
shelf_err_class_of(int err)
{
	switch (err) {
	case SHELF_OK:
		return SHELF_CLASS_OK;
#define SHELF_ERROR(name, number, class, text)                                                     \
	case SHELF_E##name:                                                                        \
		return SHELF_CLASS_##class;
#include <mailshelf/err.def>
#undef SHELF_ERROR
	}
	return SHELF_CLASS_SYSTEM;
}
