/* image.c - the files of a store in memory */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "image.h"
#include "support.h"

struct entry {
	char *path; /* below the directory */
	bool is_dir;
	struct shelf_buf bytes;
};

struct image {
	struct entry *entry; /* a directory comes before what is in it */
	size_t count, cap;
};

static void
add(struct image *image, const char *path, const char *full, bool is_dir)
{
	struct entry *e;

	if (image->count == image->cap) {
		image->cap = image->cap == 0 ? 32 : image->cap * 2;
		image->entry = shelf_realloc(image->entry, image->cap * sizeof *image->entry);
	}
	e = &image->entry[image->count++];
	*e = (struct entry){.path = shelf_strdup(path), .is_dir = is_dir};
	if (!is_dir)
		support_read_file(full, &e->bytes);
}

struct image *
image_take(const char *dir)
{
	char *roots[] = {(char *)(uintptr_t)dir, NULL};
	struct image *image = SHELF_NEW(struct image);
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *e;

	if (fts == NULL)
		support_fatal("cannot walk %s", dir);
	while ((e = fts_read(fts)) != NULL) {
		const char *path = e->fts_path + strlen(dir);

		path += *path == '/';
		if (*path == '\0' || e->fts_info == FTS_DP || strcmp(e->fts_name, "lock.mdb") == 0)
			continue;
		if (e->fts_info != FTS_D && e->fts_info != FTS_F)
			support_fatal("%s is neither file nor directory", e->fts_path);
		add(image, path, e->fts_path, e->fts_info == FTS_D);
	}
	fts_close(fts);
	return image;
}

static void
put_file(const char *path, struct shelf_span bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	while (fd >= 0 && bytes.len > 0) {
		ssize_t n = write(fd, bytes.data, bytes.len);

		if (n <= 0)
			break;
		bytes = shelf_span(bytes.data + n, bytes.len - (size_t)n);
	}
	if (fd < 0 || bytes.len > 0 || close(fd) != 0)
		support_fatal("%s: %s", path, strerror(errno));
}

void
image_put(const struct image *image, const char *dir)
{
	char path[4400];

	support_rmtree(dir);
	if (mkdir(dir, 0700) != 0)
		support_fatal("%s: %s", dir, strerror(errno));
	for (size_t i = 0; i < image->count; i++) {
		const struct entry *e = &image->entry[i];

		snprintf(path, sizeof path, "%s/%s", dir, e->path);
		if (!e->is_dir)
			put_file(path, shelf_buf_span(&e->bytes));
		else if (mkdir(path, 0700) != 0)
			support_fatal("%s: %s", path, strerror(errno));
	}
}

void
image_free(struct image **image)
{
	struct image *im = *image;

	*image = NULL;
	for (size_t i = 0; im != NULL && i < im->count; i++) {
		free(im->entry[i].path);
		shelf_buf_free(&im->entry[i].bytes);
	}
	if (im != NULL)
		free(im->entry);
	free(im);
}
