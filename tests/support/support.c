/*
 * support.c - temporary directories, files, certificates, the last line of a test program
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "support.h"

void
support_fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

int
support_report(const char *name, struct support_count count)
{
	printf("%s: %u passed, %u failed\n", name, count.passed, count.failed);
	fflush(stdout);
	return count.failed == 0 && count.passed > 0 ? 0 : 1;
}

void
support_tmpdir(char *path, size_t len)
{
	const char *base = getenv("TMPDIR");

	if (base == NULL || *base == '\0')
		base = "/tmp";
	if ((size_t)snprintf(path, len, "%s/mailshelf-test-XXXXXX", base) >= len)
		support_fatal("TMPDIR is too long");
	if (mkdtemp(path) == NULL)
		support_fatal("mkdtemp %s: %s", path, strerror(errno));
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void
support_rmtree(const char *path)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
		fprintf(stderr, "cannot remove %s: %s\n", path, strerror(errno));
}

void
support_read_file(const char *path, struct shelf_buf *out)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL)
		support_fatal("%s: %s", path, strerror(errno));
	do {
		n = fread(shelf_buf_reserve(out, 65536), 1, 65536, f);
		out->len += n;
	} while (n > 0);
	if (ferror(f))
		support_fatal("%s: cannot be read", path);
	fclose(f);
}

static void
write_pem(const char *dir, const char *name, EVP_PKEY *key, X509 *cert)
{
	char path[4200];
	FILE *f;
	int ok;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	if (f == NULL)
		support_fatal("%s: %s", path, strerror(errno));
	ok = key != NULL ? PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL)
			 : PEM_write_X509(f, cert);
	if (!ok || fclose(f) != 0)
		support_fatal("%s: cannot be written", path);
}

void
support_certificate(const char *dir)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *name;
	X509_EXTENSION *ext;

	if (key == NULL || cert == NULL)
		support_fatal("no key for a certificate");
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
	X509_set_pubkey(cert, key);
	name = X509_get_subject_name(cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1,
	    -1, 0);
	X509_set_issuer_name(cert, name);
	ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
	if (ext == NULL || !X509_add_ext(cert, ext, -1) || !X509_sign(cert, key, EVP_sha256()))
		support_fatal("the certificate cannot be made");
	X509_EXTENSION_free(ext);
	write_pem(dir, "key.pem", key, NULL);
	write_pem(dir, "cert.pem", NULL, cert);
	X509_free(cert);
	EVP_PKEY_free(key);
}
