<?php

// Receives webhooks: verifies, keeps each event once, answers. Needs nothing but PHP 8.1 or newer.

declare(strict_types=1);

const TOLERANCE_SECONDS = 300;
const BODY_BYTES_MAX = 256 * 1024;

/** Whether one of the signatures is ours, and the time is not far away. */
function verified(string $secret, string $id, string $timestamp, string $signatures, string $body): bool
{
    $key = base64_decode(substr($secret, strlen('whsec_')), true);
    if (!str_starts_with($secret, 'whsec_') || $key === false || $key === '') {
        throw new RuntimeException('WEBHOOK_SECRET is not whsec_ and base64');
    }
    if (!preg_match('/^\d{1,12}$/', $timestamp) || abs(time() - (int) $timestamp) > TOLERANCE_SECONDS) {
        return false;
    }
    $expected = base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    foreach (explode(' ', $signatures) as $signature) {
        [$version, $mac] = explode(',', $signature, 2) + [1 => ''];
        // Compared in constant time, so that nobody learns it byte by byte.
        if ($version === 'v1' && hash_equals($expected, $mac)) {
            return true;
        }
    }
    return false;
}

/** Keeps an event durably; false where it is there already. */
function keep(string $inbox, string $id, string $body): bool
{
    $partial = "$inbox/.$id." . bin2hex(random_bytes(8));
    $file = fopen($partial, 'xb');
    if ($file === false || fwrite($file, $body) !== strlen($body) || !fsync($file)) {
        throw new RuntimeException('the inbox cannot be written to');
    }
    fclose($file);
    $isNew = @link($partial, "$inbox/$id.json");
    unlink($partial);
    if (!$isNew && !file_exists("$inbox/$id.json")) {
        throw new RuntimeException('the inbox cannot be written to');
    }
    return $isNew;
}

function answer(int $status): never
{
    http_response_code($status);
    exit;
}

// Whatever is not foreseen is 500, so that the event comes again.
http_response_code(500);
$body = file_get_contents('php://input', false, null, 0, BODY_BYTES_MAX + 1);
if ($body === false || strlen($body) > BODY_BYTES_MAX) {
    answer(413);
}
[$id, $timestamp, $signatures] = array_map(
    fn (string $name): string => $_SERVER["HTTP_WEBHOOK_$name"] ?? '',
    ['ID', 'TIMESTAMP', 'SIGNATURE'],
);
if (!verified((string) getenv('WEBHOOK_SECRET'), $id, $timestamp, $signatures, $body)) {
    answer(401);
}
// It was signed, and yet no name of ours should lead out of the folder.
if (!preg_match('/^\w{1,80}$/D', $id)) {
    answer(400);
}
$isNew = keep((string) getenv('INBOX'), $id, $body);
error_log(($isNew ? 'kept ' : 'had ') . $id);
answer(204);
